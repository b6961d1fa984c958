"""The keys that sign ID tokens: made from the world's seed, so the same world has the same keys after a restart.

Key number n of a seed never changes. The current key and the one that comes next are published together; rotating
makes the next one current, and the one before it disappears from the set. They guard a pretend tenant.
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

BITS = 2048
EXPONENT = 65537
ROUNDS = 8  # Miller-Rabin: a wrong prime once in 4**8 candidates, and the library checks the pair again
PUBLISHED = 2


@lru_cache(maxsize=16)
def key(seed: int, number: int) -> rsa.RSAPrivateKey:
    """Signing key `number` of a world; about a tenth of a second the first time."""
    rng = random.Random(f"sign-in-key-{seed}-{number}")  # noqa: S311 - repeatable on purpose
    while True:
        p, q = _prime(rng), _prime(rng)
        if p != q and math.gcd(EXPONENT, (p - 1) * (q - 1)) == 1:
            break
    d = pow(EXPONENT, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(EXPONENT, p * q),
    )
    return numbers.private_key()


def key_id(seed: int, number: int) -> str:
    """The `kid` of a key."""
    digest = hashlib.sha256(f"sign-in-kid-{seed}-{number}".encode()).digest()
    return _base64url(digest[:20])


def published(seed: int, first: int) -> dict[str, Any]:
    """The JWKS document while key `first` is the current one."""
    return {"keys": [_as_jwk(seed, n) for n in range(first, first + PUBLISHED)]}


def _as_jwk(seed: int, number: int) -> dict[str, Any]:
    public = key(seed, number).public_key().public_numbers()
    size = BITS // 8
    return {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": key_id(seed, number),
        "x5t": key_id(seed, number),
        "n": _base64url(public.n.to_bytes(size, "big")),
        "e": _base64url(public.e.to_bytes(3, "big")),
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@lru_cache(maxsize=1)
def _small_primes() -> tuple[int, ...]:
    sieve = bytearray([1]) * 4000
    for n in range(2, 64):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, len(sieve), n)))
    return tuple(n for n in range(3, len(sieve)) if sieve[n])


def _prime(rng: random.Random) -> int:
    """An odd prime of half the key's bits with its two highest bits set, so that a product has all bits."""
    half = BITS // 2
    while True:
        candidate = rng.getrandbits(half) | (3 << (half - 2)) | 1
        if any(candidate % small == 0 for small in _small_primes()):
            continue
        if _is_probably_prime(candidate, rng):
            return candidate


def _is_probably_prime(n: int, rng: random.Random) -> bool:
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(ROUNDS):
        x = pow(rng.randrange(2, n - 1), odd, n)
        if x in {1, n - 1}:
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True
