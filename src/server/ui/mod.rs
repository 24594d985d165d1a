//! The files of the web page for operators, which are a part of the program. They hold no data and no secret: the page reads
//! all that it shows from the API, with the token of its user.
//!
//! | file | what it is |
//! | --- | --- |
//! | `app.js` | shows the page of the address, and reads it again every two seconds |
//! | `list.js`, `limit.js`, `service.js` | the pages |
//! | `change.js`, `sign_in.js` | the dialogs: a change with its plan, the token |
//! | `plot.js`, `samples.js` | plots, and what they show |
//! | `api.js`, `elements.js` | calls the API; makes elements |
//! | `model.js`, `json.js` | what is said of a limit; JSON with exact whole numbers. Pure |
//!
//! They are plain ES modules, so there is no build step. A file imports only files below it in the table, or beside it.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// What a browser lets the page do: load its own files, and call the service that it comes from. No script or style in the
/// markup runs, no other page may frame it, and no text becomes markup.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
pub(super) struct Asset {
    name: &'static str,
    pub(super) media_type: &'static str,
    pub(super) body: &'static str,
    /// Changes with the content.
    pub(super) etag: String,
}

/// The file that the bare path of the page shows.
pub(super) const INDEX: &str = "index.html";

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    vec![
        Asset::new(INDEX, HTML, include_str!("index.html")),
        Asset::new("style.css", CSS, include_str!("style.css")),
        Asset::new("icon.svg", SVG, include_str!("icon.svg")),
        Asset::new("app.js", SCRIPT, include_str!("app.js")),
        Asset::new("api.js", SCRIPT, include_str!("api.js")),
        Asset::new("change.js", SCRIPT, include_str!("change.js")),
        Asset::new("elements.js", SCRIPT, include_str!("elements.js")),
        Asset::new("json.js", SCRIPT, include_str!("json.js")),
        Asset::new("limit.js", SCRIPT, include_str!("limit.js")),
        Asset::new("list.js", SCRIPT, include_str!("list.js")),
        Asset::new("model.js", SCRIPT, include_str!("model.js")),
        Asset::new("plot.js", SCRIPT, include_str!("plot.js")),
        Asset::new("samples.js", SCRIPT, include_str!("samples.js")),
        Asset::new("service.js", SCRIPT, include_str!("service.js")),
        Asset::new("sign_in.js", SCRIPT, include_str!("sign_in.js")),
    ]
});

impl Asset {
    fn new(name: &'static str, media_type: &'static str, body: &'static str) -> Self {
        let digest = Sha256::digest(body.as_bytes());
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { name, media_type, body, etag: format!("\"{hex}\"") }
    }
}

/// The file with this name.
pub(super) fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_and_no_other() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/ui");
        let names =
            fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.into_string().expect("text")).filter(|name| name != "mod.rs");
        let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        assert_eq!(served, names.collect());
    }

    #[test]
    fn no_file_turns_text_into_markup_or_names_another_site() {
        for asset in ASSETS.iter() {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "style=\"",
                "onclick=\"",
            ] {
                assert!(!asset.body.contains(forbidden), "{} has {forbidden}", asset.name);
            }
            // The namespace of SVG is a name, which nobody fetches.
            let names_sites = asset.body.replace("http://www.w3.org/2000/svg", "").contains("://");
            assert!(!names_sites, "{} names a site", asset.name);
        }
    }
}
