"""Bulk work: import, assign and release many devices by file, by API or by command; with one result a row.

Somebody hands in a *sheet* (rows of text, kept in the database in parts of a few thousand), and starts *operations* on
it: a dry run first, perhaps, then the run. A worker does a slice of it at a time.

For edges (API, browser, command); every verb takes `at`, and those that change anything an `actor`:

    from operations import receiving, running, reporting

    sheet = receiving.receive_csv(organization=…, stream=FILE, file_name="…", at=…)      # FILE.read(n) -> bytes
    sheet = receiving.receive_rows(organization=…, rows=[{"mac": …, …}, …], at=…)
        # raises UnreadableSheet, SheetTooLarge, TooManyOperations
        # sheet.total; sheet.columns: {"mac": "MAC Address", …} (ours: as headed in the file); sheet.ignored: [headings]
    receiving.sample(sheet, most=20)     # [SampleRow(row, values={"mac": "00:56:…", …}, problem="" or a sentence)]

    operation = running.start(actor=…, sheet=sheet, kind="import", dry_run=True, profile=None, at=…)
        # kind: import, assign, release; profile: for rows that name none; raises UnreadableSheet (a column is missing),
        # TooManyOperations, ProfileNotYours
    operation = running.run_for_real(actor=…, operation=DRY_RUN, at=…)      # the same sheet, kind and profile
    running.cancel(actor=…, operation=…, at=…)                              # raises OperationOver
    operation = running.revert(actor=…, operation=…, at=…)                  # an operation of kind "revert"

    operation.status     # queued, running, done, failed, cancelled, reverted
    operation.total, .processed, .succeeded, .created, .changed, .unchanged, .released, .failed, .reason
    reporting.progress(operation, at=…)      # Progress(share=0.0…1.0, seconds_left=int or None)
    reporting.results(operation, after=0, most=100, status="")    # [Result(row, mac, status, code, detail)] with row >
        # after; status "failed" gives the problems. For dry runs they tell what the run would do.
    reporting.results_csv(operation)         # Iterator[bytes], formula-safe

    Operation.objects.visible_to(viewer), Sheet.objects.visible_to(viewer)
"""
