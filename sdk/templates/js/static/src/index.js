// The window {{name}}: the site in `site`, whose files are in the component.
import { site, window } from "@hms-svc/window";
import files from "site:../site";

// For an application that has its own paths in the browser: site(files, { singlePage: true })
export default window(site(files));
