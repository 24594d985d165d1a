//! The URL under which a replica answers the others.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest URL, in bytes.
pub const REPLICA_URL_BYTES_MAX: usize = 255;

/// `http://HOST:PORT` or `https://HOST:PORT`, without a path; the port may be missing. Cloning it is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaUrl(Arc<str>);

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaUrlError {
    /// It has another form.
    #[error("must be http://HOST:PORT or https://HOST:PORT, without user, path or query")]
    Form,
    /// It is too long.
    #[error("must be at most {max} bytes long, not {0}", max = REPLICA_URL_BYTES_MAX)]
    TooLong(usize),
}

impl ReplicaUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host and the port.
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl FromStr for ReplicaUrl {
    type Err = ReplicaUrlError;

    /// Reads a URL. One slash at its end is left out.
    fn from_str(text: &str) -> Result<Self, ReplicaUrlError> {
        let url = text.strip_suffix('/').unwrap_or(text);
        if url.len() > REPLICA_URL_BYTES_MAX {
            return Err(ReplicaUrlError::TooLong(url.len()));
        }
        let authority = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        match authority.is_some_and(is_authority) {
            true => Ok(Self(url.into())),
            false => Err(ReplicaUrlError::Form),
        }
    }
}

/// Whether the text is `HOST` or `HOST:PORT`; an IPv6 address stands in brackets.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) && !host.is_empty(),
    };
    is_host && port.is_none_or(is_port)
}

impl fmt::Display for ReplicaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_port() {
        for (text, url) in [
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
            (
                "https://limits-0.limits.svc.cluster.local:8080/",
                "https://limits-0.limits.svc.cluster.local:8080",
            ),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("http://limits", "http://limits"),
        ] {
            assert_eq!(text.parse::<ReplicaUrl>().map(|url| url.to_string()).as_deref(), Ok(url));
        }
        for text in [
            "",
            "limits:8080",
            "ftp://limits",
            "http://",
            "http:///",
            "http://limits:0",
            "http://limits:65536",
            "http://limits:+1",
            "http://limits:",
            "http://a@limits",
            "http://limits/v1",
            "http://limits?a",
            "http://limits//",
            "http://limits#a",
            "http://[::1",
            "http://::1:8080",
            "http://li mits",
            "http://limits\r\n",
            "HTTP://limits",
        ] {
            assert_eq!(text.parse::<ReplicaUrl>(), Err(ReplicaUrlError::Form), "{text:?}");
        }
        let longest = format!("http://{}", "a".repeat(REPLICA_URL_BYTES_MAX - 7));
        assert!(longest.parse::<ReplicaUrl>().is_ok());
        assert_eq!(format!("{longest}a").parse::<ReplicaUrl>(), Err(ReplicaUrlError::TooLong(256)));
    }
}
