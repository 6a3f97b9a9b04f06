"""``oidc-provider-mock`` as a process: ``python -m tests.mock_provider PORT TOKEN_SECONDS``.

Its own command gives tokens of a refresh ten days, whatever those of a login have.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from werkzeug.serving import make_server


def main(port: int, seconds: int) -> None:
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    import oidc_provider_mock
    from authlib.oauth2.rfc6750.token import BearerTokenGenerator

    BearerTokenGenerator.DEFAULT_EXPIRES_IN = seconds
    app = oidc_provider_mock.app(access_token_max_age=timedelta(seconds=seconds))
    make_server("127.0.0.1", port, app, threaded=True).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
