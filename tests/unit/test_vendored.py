"""Files of other projects are what they published, with their licence."""

from __future__ import annotations

import hashlib

from api.assets import ASSETS, DASHBOARD

VENDOR = DASHBOARD / "vendor"
SUMS = {
    "uplot/LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uplot/uPlot.esm.js": "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba",
    "uplot/uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


def test_each_file_is_as_its_project_published_it() -> None:
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.parent != VENDOR
    }
    assert found == SUMS


def test_the_service_serves_them() -> None:
    assert "vendor/uplot/uPlot.esm.js" in ASSETS
