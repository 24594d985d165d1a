//! Finds the key of a request.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use hyper::header::HeaderName;
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use crate::client::escape_segment;

/// The key of requests without a key of their own. They share one limit.
pub const FALLBACK_KEY: &str = "global";

/// The longest part of a limit key that comes from a request, in bytes. A longer key is replaced by its hash.
pub(super) const REQUEST_PART_BYTES_MAX: usize = 128;

type Find = dyn Fn(&Parts) -> Result<Option<String>, NoPeerAddr> + Send + Sync;

/// How the key of a request is found.
///
/// Requests of the same key share their limits. Requests without a key have [`FALLBACK_KEY`].
#[derive(Clone)]
pub struct RequestKey(Arc<Find>);

/// The key is the address of the peer, and the server does not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoPeerAddr;

/// The address of the peer, as an extension of a request. For a server that passes it otherwise, use
/// [`RequestKey::from_fn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

impl RequestKey {
    /// The IP address of the peer, from [`PeerAddr`] or, with the feature `server`, from axum's `ConnectInfo`. A request
    /// without either is answered with 500.
    ///
    /// Behind a proxy that is the address of the proxy: then use [`forwarded_ip`](Self::forwarded_ip).
    pub fn peer_ip() -> Self {
        Self(Arc::new(|parts| Ok(Some(peer_ip(parts)?.to_string()))))
    }

    /// The IP address of the client behind this many proxies, from `X-Forwarded-For`. Each proxy appends the address that it
    /// sees, so the one of the outermost proxy is that many places from the end; what stands before it is the client's own
    /// word. A request that came past the proxies has fewer addresses, and the key [`peer_ip`](Self::peer_ip).
    pub fn forwarded_ip(proxies: NonZeroUsize) -> Self {
        Self(Arc::new(move |parts| {
            let forwarded = forwarded_ip(parts, proxies);
            Ok(Some(forwarded.map_or_else(|| peer_ip(parts), Ok)?.to_string()))
        }))
    }

    /// The value of a header.
    ///
    /// Clients choose it freely, unless a proxy checks or sets it. It becomes part of limit keys, which are logged:
    /// for secrets, use [`from_fn`](Self::from_fn) and hash them.
    pub fn header(name: HeaderName) -> Self {
        Self::from_fn(move |parts| Some(parts.headers.get(&name)?.to_str().ok()?.to_owned()))
    }

    /// The path of the request, without its query.
    pub fn path() -> Self {
        Self::from_fn(|parts| Some(parts.uri.path().to_owned()))
    }

    /// The key that the closure finds; `None` or an empty one means [`FALLBACK_KEY`].
    pub fn from_fn(find: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |parts| Ok(find(parts))))
    }

    /// The key, spelled as one segment of a limit key. Different keys have different spellings.
    pub(super) fn of(&self, parts: &Parts) -> Result<String, NoPeerAddr> {
        Ok(match (self.0)(parts)? {
            Some(key) if !key.is_empty() => spell(&key),
            Some(_) | None => FALLBACK_KEY.to_owned(),
        })
    }
}

fn peer_ip(parts: &Parts) -> Result<IpAddr, NoPeerAddr> {
    peer_addr(parts).map(|addr| addr.ip().to_canonical()).ok_or(NoPeerAddr)
}

/// The address that stands `proxies` places from the end of all `X-Forwarded-For` together.
fn forwarded_ip(parts: &Parts, proxies: NonZeroUsize) -> Option<IpAddr> {
    let values = parts.headers.get_all("x-forwarded-for").iter().rev();
    let mut addresses = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
    let address: IpAddr = addresses.nth(proxies.get() - 1)?.trim().parse().ok()?;
    Some(address.to_canonical())
}

fn peer_addr(parts: &Parts) -> Option<SocketAddr> {
    let addr = parts.extensions.get::<PeerAddr>().map(|PeerAddr(addr)| *addr);
    #[cfg(feature = "server")]
    let addr = addr.or_else(|| {
        let info = parts.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>();
        info.map(|info| info.0)
    });
    addr
}

/// Spells a key as one segment of a limit key. A long one is replaced by its hash.
fn spell(key: &str) -> String {
    let spelled = escape_segment(key);
    if spelled.len() <= REQUEST_PART_BYTES_MAX {
        return spelled;
    }
    let hash = Sha256::digest(key.as_bytes());
    // No text has the byte FF, so no key is spelled like this.
    hash.iter().fold("%FFsha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(key: &str) -> String {
        let parts = hyper::Request::new(()).into_parts().0;
        let key = key.to_owned();
        RequestKey::from_fn(move |_| Some(key.clone())).of(&parts).expect("found")
    }

    #[test]
    fn different_keys_have_different_spellings() {
        assert_eq!(spelled("203.0.113.7"), "203.0.113.7");
        assert_eq!(spelled("2001:db8::1"), "2001%3Adb8%3A%3A1");
        assert_eq!(spelled("/v1/chat"), "/v1/chat");
        assert_eq!(spelled("a b"), "a%20b");
        assert_eq!(spelled("a%20b"), "a%2520b");
        assert_eq!(spelled("é"), "%C3%A9");
        assert_eq!(spelled(""), FALLBACK_KEY);
        let (long, longer) = ("x".repeat(129), "x".repeat(130));
        assert_eq!(spelled(&long).len(), "%FFsha256=".len() + 64);
        assert_ne!(spelled(&long), spelled(&longer));
    }

    #[test]
    fn each_key_is_found_in_its_part_of_the_request() {
        let mut request = hyper::Request::get("/chat?q=1").header("x-user", "ann").body(()).expect("valid");
        request.extensions_mut().insert(PeerAddr(([203, 0, 113, 7], 4_000).into()));
        let parts = request.into_parts().0;
        let header = |name| RequestKey::header(HeaderName::from_static(name));
        for (key, expected) in [
            (RequestKey::peer_ip(), "203.0.113.7"),
            (RequestKey::path(), "/chat"),
            (header("x-user"), "ann"),
            (header("x-team"), FALLBACK_KEY),
        ] {
            assert_eq!(key.of(&parts).as_deref(), Ok(expected));
        }
        let bare = hyper::Request::new(()).into_parts().0;
        assert_eq!(RequestKey::peer_ip().of(&bare), Err(NoPeerAddr));
    }

    #[test]
    fn the_address_behind_proxies_is_counted_from_the_end() {
        let one = NonZeroUsize::MIN;
        let two = one.saturating_add(1);
        for (headers, proxies, expected) in [
            (&["203.0.113.7"][..], one, "203.0.113.7"),
            (&["10.9.9.9, 203.0.113.7"], one, "203.0.113.7"),
            (&["10.9.9.9, 203.0.113.7 , 198.51.100.1"], two, "203.0.113.7"),
            (&["10.9.9.9", "2001:db8::1", "198.51.100.1"], two, "2001%3Adb8%3A%3A1"),
            (&["::ffff:203.0.113.7"], one, "203.0.113.7"),
            (&["203.0.113.7"], two, "192.0.2.1"),
            (&["unknown"], one, "192.0.2.1"),
            (&[], one, "192.0.2.1"),
        ] {
            let request = hyper::Request::get("/").extension(PeerAddr(([192, 0, 2, 1], 4_000).into()));
            let with_header =
                headers.iter().fold(request, |request, value| request.header("x-forwarded-for", *value));
            let parts = with_header.body(()).expect("valid").into_parts().0;
            let key = RequestKey::forwarded_ip(proxies).of(&parts);
            assert_eq!(key.as_deref(), Ok(expected), "{headers:?}, {proxies} proxies");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn the_peer_is_found_in_the_connect_info_of_axum() {
        let mut parts = hyper::Request::new(()).into_parts().0;
        let addr: SocketAddr = "[::ffff:203.0.113.7]:80".parse().expect("an address");
        parts.extensions.insert(axum::extract::ConnectInfo(addr));
        assert_eq!(RequestKey::peer_ip().of(&parts).as_deref(), Ok("203.0.113.7"));
    }
}
