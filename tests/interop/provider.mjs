// The certified oidc-provider of npm as a process: node provider.mjs PORT PUBLIC_URL TOKEN_SECONDS.
// Refresh tokens are rotated, access tokens are opaque, roles are in the ID token. Its users are
// ann (noc), bob (user of 101) and everybody else (no role). PUT /disabled/NAME locks one out.

import * as oidc from "oidc-provider";

const [port, publicUrl, seconds] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const rights = { ann: { role: "noc" }, bob: { role: "user", company_id: "101" } };
const disabled = new Set();
const ttl = Number(seconds);

const provider = new oidc.Provider(issuer, {
  clients: [{
    client_id: "livestate",
    client_secret: "secret-of-the-client",
    grant_types: [
      "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
    ],
    response_types: ["code"],
    redirect_uris: [`${publicUrl}/login/callback`],
    post_logout_redirect_uris: [`${publicUrl}/live-calls`],
    backchannel_logout_uri: `${publicUrl}/login/backchannel`,
    backchannel_logout_session_required: true,
  }],
  claims: { openid: ["sub", "role", "company_id", "sid"], profile: [], email: [] },
  conformIdTokenClaims: false,
  cookies: { keys: ["only-for-tests"] },
  features: {
    backchannelLogout: { enabled: true },
    deviceFlow: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    devInteractions: { enabled: true },
  },
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  findAccount: async (_, id) => (disabled.has(id) ? undefined : {
    accountId: id,
    claims: async () => ({ sub: id, ...rights[id] }),
  }),
  pkce: { required: () => true },
  renderError: async (ctx, out) => { ctx.type = "json"; ctx.body = out; },
  rotateRefreshToken: true,
  ttl: { AccessToken: ttl, IdToken: ttl, RefreshToken: 3600, Session: 3600, Grant: 3600,
    Interaction: 600, DeviceCode: 600, AuthorizationCode: 60 },
});

provider.use(async (ctx, next) => {
  const found = /^\/disabled\/(\w+)$/.exec(ctx.path);
  if (ctx.method === "PUT" && found) {
    disabled.add(found[1]);
    ctx.status = 204;
  } else await next();
});
provider.on("server_error", (_, error) => console.error(error));
provider.on("grant.error", (_, error) => console.error("grant:", error.error, error.error_detail));
provider.on("backchannel.error", (_, error) => console.error("backchannel:", error));
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
