//! Finds the key of a request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::HeaderName;
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use crate::client::escape_segment;

/// The key of requests without a key of their own. They share one limit.
pub const FALLBACK_KEY: &str = "global";

/// The longest part of a limit key that comes from a request, in bytes. A longer key is replaced by its hash.
pub(super) const REQUEST_PART_BYTES_MAX: usize = 128;

type Find = dyn Fn(&Parts) -> Option<String> + Send + Sync;

/// How the key of a request is found.
///
/// Requests of the same key share their limits. Requests without a key have [`FALLBACK_KEY`].
#[derive(Clone)]
pub struct RequestKey(Arc<Find>);

/// The address of the peer, as an extension of a request. For a server that passes it otherwise, use
/// [`RequestKey::from_fn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

impl RequestKey {
    /// The IP address of the peer, from [`PeerAddr`] or, with the feature `server`, from axum's `ConnectInfo`.
    ///
    /// Behind a proxy that is the address of the proxy: then use the header in which the proxy names the client.
    pub fn peer_ip() -> Self {
        Self::from_fn(|parts| peer_addr(parts).map(|addr| addr.ip().to_canonical().to_string()))
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
        Self(Arc::new(find))
    }

    /// The key, spelled as one segment of a limit key. Different keys have different spellings.
    pub(super) fn of(&self, parts: &Parts) -> String {
        match (self.0)(parts) {
            Some(key) if !key.is_empty() => spell(&key),
            Some(_) | None => FALLBACK_KEY.to_owned(),
        }
    }
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
        RequestKey::from_fn(move |_| Some(key.clone())).of(&parts)
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
        assert_eq!(RequestKey::peer_ip().of(&parts), "203.0.113.7");
        assert_eq!(RequestKey::path().of(&parts), "/chat");
        assert_eq!(RequestKey::header(HeaderName::from_static("x-user")).of(&parts), "ann");
        assert_eq!(RequestKey::header(HeaderName::from_static("x-team")).of(&parts), FALLBACK_KEY);
        let bare = hyper::Request::new(()).into_parts().0;
        assert_eq!(RequestKey::peer_ip().of(&bare), FALLBACK_KEY);
    }

    #[cfg(feature = "server")]
    #[test]
    fn the_peer_is_found_in_the_connect_info_of_axum() {
        let mut parts = hyper::Request::new(()).into_parts().0;
        let addr: SocketAddr = "[::ffff:203.0.113.7]:80".parse().expect("an address");
        parts.extensions.insert(axum::extract::ConnectInfo(addr));
        assert_eq!(RequestKey::peer_ip().of(&parts), "203.0.113.7");
    }
}
