// The globals `URL` and `URLSearchParams`, where a module uses them.
import URL from "core-js-pure/web/url.js";
import URLSearchParams from "core-js-pure/web/url-search-params.js";

export { URL, URLSearchParams };
