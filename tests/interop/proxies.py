"""Real proxies that run the configurations of docs/proxies.md, to the letter.

What is put in place of the page's text: the ports, the directory of certificates and the address of
livestate. Nothing is added that changes what the proxy does with a request.
"""

from __future__ import annotations

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


class Proxy(Server):
    """One proxy of the page before one livestate. ``below``: with the prefix."""

    headings: ClassVar[tuple[str, str]]  # at the root, below a path
    listens: ClassVar[str] = ":443"  # as the page writes it

    def __init__(self, upstream: int, certificates: Path, *, below: bool) -> None:
        super().__init__(self.found())
        self.upstream = upstream
        self.certificates = certificates
        self.below = below

    @classmethod
    def found(cls) -> str | None:
        """The program; wheels put theirs beside Python."""
        return shutil.which(cls.name) or shutil.which(cls.name, path=sysconfig.get_path("scripts"))

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
        # Of the machine, not of the site: other Caddys run here, and port 80 may be taken.
        options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
        file.write_text(options + file.read_text())
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


PROXIES: tuple[type[Proxy], ...] = (Nginx, HaProxy, OwnCaddy, Traefik, Envoy)
