"""Do the tests notice when the core is wrong? ``make mutants``."""
