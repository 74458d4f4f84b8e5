def handle(exc, context): return None
