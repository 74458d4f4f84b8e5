"""Passwords are kept by Argon2id, with little enough memory that sign-ins do not take the phones' part of it."""

import config.settings
from signin.hashing import Argon2

DJANGOS = "argon2$argon2id$v=19$m=102400,t=2,p=8$LpzWdDULC5xQ8OjtwUxfFQ$B1viSBetzSM4mO4C3syGRy4PRVbPcO8qb9rTOp1q9f4"


def test_a_new_password_is_kept_with_owasps_parameters():
    hasher = Argon2()
    kept = hasher.encode("correct horse battery staple", hasher.salt())

    assert "$argon2id$v=19$m=19456,t=2,p=1$" in kept
    assert hasher.verify("correct horse battery staple", kept)
    assert not hasher.must_update(kept)
    assert config.settings.PASSWORD_HASHERS[0] == "signin.hashing.Argon2"


def test_a_password_kept_with_djangos_parameters_still_works_and_is_to_be_kept_anew():
    assert Argon2().verify("an old password", DJANGOS)
    assert Argon2().must_update(DJANGOS)
