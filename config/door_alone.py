"""The WSGI application of a door that runs alone, where there is no Django.

granian --interface wsgi config.door_alone:application
"""

from config import door, phones

application = door.build(phones.read_or_stop())
