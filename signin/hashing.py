"""How passwords are kept: Argon2id with the parameters of OWASP's cheat sheet (19 MiB, 2 rounds, 1 lane).

Django's own take 100 MiB and eight threads for each: a few sign-ins at once would take the memory of the phones' door.
Older hashes are made anew when their owners sign in.
"""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2(Argon2PasswordHasher):
    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
