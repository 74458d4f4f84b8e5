"""A phone in software: boots, discovers, asks, resyncs, and keeps its own customization state.

Demonstration, sandbox for partners, load generator and test client in one. It knows only the wire: it imports the
standard library and nothing else of this project, so it can be copied anywhere a Python is.

    from virtualphone import edos, flash, identity, phone, wire

    me = identity.Identity.parse("00562B043615", "CP-8841-3PCC")
    cisco = phone.VirtualPhone(me, edos.Service("http://127.0.0.1:8000"))
    cisco.power_on().state          # State.ACQUIRED
"""
