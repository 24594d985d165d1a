//! Keeps web pages away from the service. A browser sends requests of any page to any address, so the service looks at the
//! two headers that a page cannot choose:
//!
//! - `Host`: with DNS rebinding, a page has its own name resolve to this service. The name in the header tells. An IP address
//!   in it is no such name, so every IP address is accepted; neither is `localhost`.
//! - `Origin`: the page that makes the request. Only a page of this service itself is accepted.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::HeaderValue;
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;

/// The names under which the service may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHosts {
    is_any: bool,
    names: Vec<AllowedHost>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedHost {
    name: String,
    /// `None` allows any port.
    port: Option<u16>,
}

/// Why a request does not come from a caller of this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It has no `Host` header, an unreadable one, or several.
    #[error("send one Host header: the name or the address of this service, and its port")]
    Malformed,
    /// The `Host` is not this service.
    #[error(
        "this service does not answer under the name in the Host header; server.allowed_hosts lists its names"
    )]
    NotAllowed,
    /// A page of another site makes the request.
    #[error("requests of pages of other sites are refused")]
    ForeignOrigin,
    /// A browser makes the request, and does not say for which page.
    #[error(
        "a browser does not say over plain HTTP for which page it asks, so checks of browsers are refused; use TLS, a token, \
         or another program"
    )]
    UnknownPage,
}

impl AllowedHosts {
    /// Every name.
    pub fn any() -> Self {
        Self { is_any: true, names: Vec::new() }
    }

    /// IP addresses, `localhost`, and these names: each `NAME` or `NAME:PORT`. `*` allows all names.
    ///
    /// # Errors
    ///
    /// The first text that is no name.
    pub fn new(names: &[String]) -> Result<Self, String> {
        let mut allowed = Self { is_any: false, names: Vec::new() };
        for text in names {
            if text == "*" {
                allowed.is_any = true;
                continue;
            }
            let (name, port) = split_port(text.as_bytes()).ok_or_else(|| text.clone())?;
            let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(byte);
            let name =
                std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| is_name_byte(&byte)));
            let name = name.ok_or_else(|| text.clone())?.to_ascii_lowercase();
            allowed.names.push(AllowedHost { name, port });
        }
        Ok(allowed)
    }

    /// Checks that a request was meant for this service, and that no page of another site makes it.
    pub fn check(&self, request: &Parts) -> Result<(), HostError> {
        let host = host(request)?;
        let (name, port) = split_port(host).ok_or(HostError::Malformed)?;
        if !self.allows(name, port) {
            return Err(HostError::NotAllowed);
        }
        let mut origins = request.headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if is_same_site(origin.as_bytes(), host) => Ok(()),
            (Some(_), _) => Err(HostError::ForeignOrigin),
        }
    }

    /// Whether a `Host` header of this text is allowed.
    pub(super) fn allows_authority(&self, authority: &str) -> bool {
        split_port(authority.as_bytes()).is_some_and(|(name, port)| self.allows(name, port))
    }

    fn allows(&self, name: &[u8], port: Option<u16>) -> bool {
        let is_named = |allowed: &AllowedHost| {
            allowed.name.as_bytes().eq_ignore_ascii_case(name)
                && allowed.port.is_none_or(|allowed| Some(allowed) == port)
        };
        self.is_any
            || is_address(name)
            || name.eq_ignore_ascii_case(b"localhost")
            || self.names.iter().any(is_named)
    }
}

/// The name and port that a request is meant for. HTTP/2 has them in the target, HTTP/1.1 in the header, and with a proxy in
/// both.
fn host(request: &Parts) -> Result<&[u8], HostError> {
    let mut headers = request.headers.get_all(HOST).iter();
    let header = headers.next().map(HeaderValue::as_bytes);
    if headers.next().is_some() {
        return Err(HostError::Malformed);
    }
    let target = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = match (header, target) {
        (Some(header), Some(target)) if !header.eq_ignore_ascii_case(target) => None,
        (Some(host), _) | (None, Some(host)) => Some(host),
        (None, None) => None,
    };
    host.filter(|host| !host.is_empty()).ok_or(HostError::Malformed)
}

/// Splits `NAME:PORT`. `None` if the port is none.
fn split_port(host: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let name_end = host.iter().rposition(|byte| *byte == b':').filter(|_| !host.ends_with(b"]"));
    let Some(name_end) = name_end else { return Some((host, None)) };
    let (name, port) = (host.get(..name_end)?, host.get(name_end + 1..)?);
    // `u16` would also take a sign.
    if name.is_empty() || !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((name, Some(std::str::from_utf8(port).ok()?.parse().ok()?)))
}

fn is_address(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let in_brackets = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    in_brackets.map_or_else(|| name.parse::<Ipv4Addr>().is_ok(), |name| name.parse::<Ipv6Addr>().is_ok())
}

/// Whether an `Origin` is the service itself, behind TLS or not. Browsers leave out the port of the scheme.
fn is_same_site(origin: &[u8], host: &[u8]) -> bool {
    [(&b"http://"[..], &b":80"[..]), (b"https://", b":443")].into_iter().any(|(scheme, port)| {
        let without_port = |host| <[u8]>::strip_suffix(host, port).unwrap_or(host);
        origin.strip_prefix(scheme).is_some_and(|site| site.eq_ignore_ascii_case(without_port(host)))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn check(names: &[&str], target: &str, headers: &[(&str, &str)]) -> Result<(), HostError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).expect("a request").into_parts().0;
        AllowedHosts::new(&names).expect("names").check(&parts)
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_hosts() {
        let names = ["limits.example", "Old.example:8080", "[::1]:8080"];
        for (host, expected) in [
            ("127.0.0.1:8080", Ok(())),
            ("127.0.0.1", Ok(())),
            ("10.1.2.3:80", Ok(())),
            ("[::1]:8080", Ok(())),
            ("[fe80::1]", Ok(())),
            ("localhost:18080", Ok(())),
            ("LOCALHOST", Ok(())),
            ("limits.example", Ok(())),
            ("LIMITS.example:1", Ok(())),
            ("old.example:8080", Ok(())),
            ("old.example", Err(HostError::NotAllowed)),
            ("old.example:8081", Err(HostError::NotAllowed)),
            ("evil.example", Err(HostError::NotAllowed)),
            ("evil.example:8080", Err(HostError::NotAllowed)),
            ("localhost.evil.example", Err(HostError::NotAllowed)),
            ("limits.example.evil.example", Err(HostError::NotAllowed)),
            ("127.0.0.1.evil.example", Err(HostError::NotAllowed)),
            ("evil@127.0.0.1", Err(HostError::NotAllowed)),
            ("127.1", Err(HostError::NotAllowed)),
            ("0x7f000001", Err(HostError::NotAllowed)),
            ("[::1", Err(HostError::NotAllowed)),
            ("localhost.", Err(HostError::NotAllowed)),
            ("localhost, evil.example", Err(HostError::NotAllowed)),
            ("localhost:", Err(HostError::Malformed)),
            ("localhost:+80", Err(HostError::Malformed)),
            ("localhost:http", Err(HostError::Malformed)),
            ("localhost:65536", Err(HostError::Malformed)),
            (":8080", Err(HostError::Malformed)),
            ("", Err(HostError::Malformed)),
        ] {
            assert_eq!(check(&names, "/", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(check(&["*"], "/", &[("host", "evil.example")]), Ok(()));
        assert_eq!(check(&["*"], "/", &[]), Err(HostError::Malformed));
    }

    #[test]
    fn a_request_names_one_host() {
        let host = ("host", "localhost");
        for (target, headers, expected) in [
            ("/", vec![], Err(HostError::Malformed)),
            ("/", vec![host, host], Err(HostError::Malformed)),
            ("http://localhost/", vec![], Ok(())),
            ("http://localhost/", vec![host], Ok(())),
            ("http://evil.example/", vec![], Err(HostError::NotAllowed)),
            ("http://evil.example/", vec![host], Err(HostError::Malformed)),
        ] {
            assert_eq!(check(&[], target, &headers), expected, "{target} {headers:?}");
        }
    }

    #[test]
    fn only_a_page_of_this_service_may_be_the_origin() {
        for (host, origin, is_same) in [
            ("localhost:8080", "http://localhost:8080", true),
            ("localhost:8080", "https://LOCALHOST:8080", true),
            ("limits.example", "https://limits.example", true),
            ("limits.example:443", "https://limits.example", true),
            ("limits.example:80", "http://limits.example", true),
            ("limits.example:80", "https://limits.example", false),
            ("localhost:8080", "http://localhost:8081", false),
            ("localhost:8080", "http://localhost", false),
            ("localhost:8080", "http://evil.example", false),
            ("localhost:8080", "http://localhost:8080.evil.example", false),
            ("localhost:8080", "null", false),
            ("localhost:8080", "", false),
        ] {
            let expected = if is_same { Ok(()) } else { Err(HostError::ForeignOrigin) };
            let names = ["limits.example"];
            assert_eq!(
                check(&names, "/", &[("host", host), ("origin", origin)]),
                expected,
                "{host} {origin}"
            );
        }
        let same = ("origin", "http://localhost");
        let doubled = [("host", "localhost"), same, same];
        assert_eq!(check(&[], "/", &doubled), Err(HostError::ForeignOrigin));
    }

    #[test]
    fn a_setting_that_is_no_host_is_an_error() {
        for bad in ["", "http://limits.example", "a b", "a:b", "é.example", "a/b", "*.example"] {
            let names = ["ok.example".to_owned(), bad.to_owned()];
            let expected = if bad.is_empty() { Ok(()) } else { Err(bad.to_owned()) };
            assert_eq!(AllowedHosts::new(&names).map(|_| ()), expected, "{bad}");
        }
    }
}
