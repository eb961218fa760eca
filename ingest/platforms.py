"""What SDKs call a platform, as one word: ios, android, harmony, web, windows, macos, linux, miniprogram."""

from __future__ import annotations

from functools import lru_cache

_EXACT = {
    "ios": "ios",
    "ipados": "ios",
    "iphone os": "ios",
    "iphoneos": "ios",
    "android": "android",
    "harmonyos": "harmony",
    "harmonyos next": "harmony",
    "harmony": "harmony",
    "openharmony": "harmony",
    "ohos": "harmony",
    "windows": "windows",
    "win32": "windows",
    "mac os x": "macos",
    "mac os": "macos",
    "macos": "macos",
    "os x": "macos",
    "linux": "linux",
    "web": "web",
    "js": "web",
    "h5": "web",
    "miniprogram": "miniprogram",
}
#: An SDK that runs on one platform only says which, where the event does not.
_LIBRARIES = (
    ("analytics-ios", "ios"),
    ("analytics-swift", "ios"),
    ("analytics-android", "android"),
    ("analytics-kotlin", "android"),
    ("rudder-ios", "ios"),
    ("rudder-android", "android"),
    ("analytics.js", "web"),
    ("rudderlabs javascript", "web"),
    ("miniprogram", "miniprogram"),
    ("harmonyos", "harmony"),
    ("android", "android"),
    ("ios", "ios"),
)


@lru_cache(maxsize=1024)
def platform_of(system: str, library: str = "") -> str:
    """The platform by the operating system's name, else by the library's; an unknown system keeps its name in lower case."""
    system = system.strip().lower()
    if system:
        return _EXACT.get(system, system)
    library = library.strip().lower()
    if library == "js":
        return "web"
    for start, platform in _LIBRARIES:
        if library.startswith(start) or library.endswith(start):
            return platform
    return ""
