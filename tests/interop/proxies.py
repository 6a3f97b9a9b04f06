"""Real proxies that run the configurations of docs/proxies.md, to the letter.

What is put in place of the page's text: the ports, the directory of certificates and the address of
livestate. Nothing is added that changes what the proxy does with a request.
"""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import httpx

from livestate.devtools.child_process import Server

DOC = Path(__file__).parents[2] / "docs" / "proxies.md"
HOST = "noc.example"
PREFIX = "/noc"
SHIPPED = DOC.parents[1] / "deploy" / "Caddyfile"
# Of the machine, not of the site: other Caddys run here, and port 80 may be taken.
MACHINE = "\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n"
USER, PASSWORD = "noc", "secret"  # of nginx with a password
_FENCE = re.compile(r"^`([^`\n]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(heading: str) -> dict[str, str]:
    """The files that stand below a heading of the page: path → text."""
    lines = DOC.read_text().split(f"\n{heading}\n")
    assert len(lines) == 2, f"{DOC.name} has no single heading {heading!r}"
    section = re.split(r"^##+ ", lines[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = dict(_FENCE.findall(section))
    assert found, f"no file below {heading!r}"
    return found


def node_environment(certificates: Path) -> dict[str, str]:
    """Of a program in Node.js that finds the proxies by name and trusts their certificate."""
    return os.environ | {
        "NODE_EXTRA_CA_CERTS": str(certificates / "noc.crt"),
        "NODE_OPTIONS": f"--require {Path(__file__).parent / 'clients' / 'resolve.cjs'}",
    }


class Proxy(Server):
    """One proxy of the page before one livestate. ``below``: with the prefix."""

    headings: ClassVar[tuple[str, str]]  # at the root, below a path
    title: ClassVar[str] = ""  # where several are of one program
    listens: ClassVar[str] = ":443"  # as the page writes it

    def __init__(self, upstream: int, certificates: Path, *, below: bool) -> None:
        super().__init__(self.found())
        self.upstream = upstream
        self.certificates = certificates
        self.below = below

    @classmethod
    def found(cls) -> str | None:
        """The program; wheels put theirs beside Python, Debian some outside a user's PATH."""
        places = (None, sysconfig.get_path("scripts"), "/usr/local/sbin:/usr/sbin:/sbin")
        return next(filter(None, (shutil.which(cls.name, path=place) for place in places)), None)

    @property
    def label(self) -> str:
        """Its name in the table."""
        return f"{self.title or self.name}{f' below {PREFIX}' if self.below else ''}"

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}{PREFIX if self.below else ''}"

    @property
    def local_url(self) -> str:
        """The same without a name."""
        return self.url.replace(HOST, "127.0.0.1")

    def _texts(self) -> dict[str, str]:
        return files(self.headings[self.below])

    def write(self) -> dict[str, Path]:
        """The files of the page, where this proxy finds them."""
        self.data.mkdir(exist_ok=True)
        written = {}
        for path, text in self._texts().items():
            text = text.replace("/etc/livestate/tls", str(self.certificates))
            text = self.substituted(text)
            file = self.data / Path(path).name
            file.write_text(text)
            written[Path(path).name] = file
        return written

    def substituted(self, text: str) -> str:
        assert "127.0.0.1:8080" in text or not self._has_upstream(text)
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.upstream}")
        return text.replace(self.listens, self.listens.replace("443", str(self.port)))

    def _has_upstream(self, text: str) -> bool:
        return "8080" in text

    async def _greet(self, reader: object, writer: object) -> bool:
        """Whether it passes requests on to livestate, which runs: Traefik listens before it has
        read its routes."""
        async with httpx.AsyncClient(verify=False) as client:  # a test's own
            try:
                answer = await client.get(
                    f"{self.local_url}/live-calls",
                    headers={"Host": f"{HOST}:{self.port}"},
                    extensions={"sni_hostname": HOST},
                )
            except httpx.HTTPError:
                return False
        return answer.status_code in (200, 401)

    @abstractmethod
    def _command(self) -> list[str]: ...


class Nginx(Proxy):
    name = "nginx"
    headings = ("## nginx", "### nginx below a path, on another port, with a password")
    listens = "listen 443 ssl"

    def substituted(self, text: str) -> str:
        return super().substituted(text).replace("listen 8443 ssl", f"listen {self.port} ssl")

    def _command(self) -> list[str]:
        included = self.write()["livestate.conf"]
        whole = self.data / "nginx.conf"
        whole.write_text(
            f"daemon off; pid {self.data}/nginx.pid; error_log stderr;\n"
            "events { worker_connections 512; }\n"
            f"http {{ access_log off; client_body_temp_path {self.data}/body;\n"
            f"proxy_temp_path {self.data}/proxy; fastcgi_temp_path {self.data}/f;\n"
            f"uwsgi_temp_path {self.data}/u; scgi_temp_path {self.data}/s;\n"
            f"include {included}; }}\n"
        )
        return ["-c", str(whole), "-e", "stderr"]


class HaProxy(Proxy):
    name = "haproxy"
    headings = ("## HAProxy", "### HAProxy below a path")

    def _command(self) -> list[str]:
        return ["-db", "-f", str(self.write()["haproxy.cfg"])]


class OwnCaddy(Proxy):
    name = "caddy"
    headings = ("## Caddy", "### Caddy below a path")

    def _command(self) -> list[str]:
        file = self.write()["Caddyfile"]
        file.write_text(f"{{\n{MACHINE}}}\n{file.read_text()}")
        return ["run", "--adapter", "caddyfile", "--config", str(file)]


class ShippedCaddy(OwnCaddy):
    """deploy/Caddyfile, which is made for livestate alone."""

    title = "caddy (deploy/Caddyfile)"

    def _texts(self) -> dict[str, str]:
        return {"/etc/caddy/Caddyfile": SHIPPED.read_text()}

    def _command(self) -> list[str]:
        self.environment = os.environ | {
            "LIVESTATE_HOST": f"https://{HOST}:{self.port}",
            "LIVESTATE_PATH": PREFIX if self.below else "",
            "LIVESTATE_UPSTREAMS": f"127.0.0.1:{self.upstream}",
        }
        file = self.write()["Caddyfile"]
        options, site = "\n{\n", "\n{$LIVESTATE_HOST:localhost} {\n"
        text = file.read_text()
        assert options in text
        assert site in text
        text = text.replace(options, f"{options}{MACHINE}", 1)
        certificate, key = self.certificates / "noc.crt", self.certificates / "noc.key"
        file.write_text(text.replace(site, f"{site}\ttls {certificate} {key}\n"))
        return ["run", "--adapter", "caddyfile", "--config", str(file)]


class Traefik(Proxy):
    name = "traefik"
    headings = ("## Traefik", "### Traefik below a path")

    def substituted(self, text: str) -> str:
        return super().substituted(text).replace("/etc/traefik", str(self.data))

    def _command(self) -> list[str]:
        return [f"--configfile={self.write()['traefik.yml']}"]


class Envoy(Proxy):
    name = "envoy"
    headings = ("## Envoy", "### Envoy below a path")
    listens = "port_value: 443,"

    def _texts(self) -> dict[str, str]:
        texts = files(self.headings[0])
        if not self.below:
            return texts
        [path] = texts
        [routes] = files(self.headings[1]).values()
        before, _, rest = texts[path].partition("                        - match: { prefix: / }\n")
        _, _, after = rest.partition("timeout: 0s }\n")
        assert after, "the route of the page is not where it was"
        return {path: before + routes + after}

    def substituted(self, text: str) -> str:
        return (
            super()
            .substituted(text)
            .replace("127.0.0.1, port_value: 8080", f"127.0.0.1, port_value: {self.upstream}")
        )

    def _has_upstream(self, text: str) -> bool:
        return False

    def _command(self) -> list[str]:
        file = self.write()["envoy.yaml"]
        return ["-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


PROXIES: tuple[type[Proxy], ...] = (Nginx, HaProxy, OwnCaddy, ShippedCaddy, Traefik, Envoy)
