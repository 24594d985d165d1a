//! Keeps web pages of other sites from checks. A check takes on GET, and a browser sends GET without `Origin` for an image.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ORIGIN, USER_AGENT};

use crate::server::HostError;

/// What proxies add to the headers that they pass on. A page cannot add them without asking first (CORS).
const OF_PROXIES: &[&str] = &["x-forwarded-uri", "x-original-uri", "x-original-url"];

/// Refuses what pages of other sites make a browser send.
///
/// Over TLS, and to localhost, a browser says by `Sec-Fetch-Site` which pages it serves. Over plain HTTP to another address it
/// says nothing. So a browser, which a page cannot hide, is refused there, unless the request has something that a page
/// cannot add: a token, or a header of a proxy that passes on what its own client said of itself.
pub(super) fn refuse_pages(headers: &HeaderMap) -> Result<(), HostError> {
    let mut sites = headers.get_all("sec-fetch-site").iter().peekable();
    if sites.peek().is_some() {
        let are_own = sites.all(|site| matches!(site.as_bytes(), b"none" | b"same-origin"));
        return if are_own { Ok(()) } else { Err(HostError::ForeignOrigin) };
    }
    let is_browser =
        headers.get_all(USER_AGENT).iter().any(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    // An origin was compared with the name of the service before.
    let is_known = headers.contains_key(ORIGIN) || headers.contains_key(AUTHORIZATION);
    let is_of_proxy = OF_PROXIES.iter().any(|name| headers.contains_key(*name));
    if is_browser && !is_known && !is_of_proxy { Err(HostError::UnknownPage) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_page_of_another_site_is_refused() {
        let browser =
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0");
        let site = |site: &'static str| ("sec-fetch-site", site);
        let (foreign, unknown) = (Err(HostError::ForeignOrigin), Err(HostError::UnknownPage));
        for (headers, expected) in [
            (vec![], Ok(())),
            (vec![("user-agent", "curl/8.14.1")], Ok(())),
            (vec![browser, site("none")], Ok(())),
            (vec![browser, site("same-origin")], Ok(())),
            (vec![browser, site("same-site")], foreign),
            (vec![browser, site("cross-site")], foreign),
            (vec![browser, site("none"), site("cross-site")], foreign),
            (vec![browser, site("cross-site"), ("x-forwarded-uri", "/")], foreign),
            (vec![browser], unknown),
            (vec![browser, ("referer", "http://10.1.2.3:8080/")], unknown),
            (vec![browser, ("x-forwarded-for", "10.1.2.3")], unknown),
            (vec![("user-agent", "curl/8.14.1"), browser], unknown),
            (vec![browser, ("origin", "http://10.1.2.3:8080")], Ok(())),
            (vec![browser, ("authorization", "Bearer token")], Ok(())),
            (vec![browser, ("x-forwarded-uri", "/")], Ok(())),
            (vec![browser, ("x-original-url", "/")], Ok(())),
        ] {
            let header = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            let mut map = HeaderMap::new();
            for (name, value) in headers.iter().copied().map(header) {
                map.append(name, value);
            }
            assert_eq!(refuse_pages(&map), expected, "{headers:?}");
        }
    }
}
