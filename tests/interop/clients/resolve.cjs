// node --require resolve.cjs: the name of the proxies of tests is this machine.

const dns = require("node:dns");

const { lookup } = dns;
dns.lookup = (name, ...rest) => lookup(name === "noc.example" ? "127.0.0.1" : name, ...rest);
