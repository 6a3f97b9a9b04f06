// The definitions of the figures, in the language that the reader chose on the page.

import { translate } from "./text/catalogue.js";

translate(document);
