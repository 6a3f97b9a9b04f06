"""A real Kamailio, real SIP phones, and all of livestate behind them: ``make e2e``."""
