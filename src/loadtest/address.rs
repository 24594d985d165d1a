//! The address of a service, read from a URL.

use std::fmt;

use hyper::Uri;
use hyper::header::{HeaderValue, InvalidHeaderValue};
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

/// The address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// `HOST:PORT`
    pub(crate) authority: String,
    /// The authority as the value of a `Host` header.
    pub(crate) host: HeaderValue,
    /// The name that the certificate of the service must have; `None` without TLS.
    pub(crate) tls_name: Option<ServerName<'static>>,
}

/// Why a text is not the address of a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("must be a URL of the form http://HOST:PORT or https://HOST:PORT")]
    Uri(#[from] hyper::http::uri::InvalidUri),
    #[error("must be http://HOST:PORT or https://HOST:PORT, without a path")]
    Form,
    #[error("must name a host that a certificate can have")]
    Name(#[from] InvalidDnsNameError),
    #[error("must name a host that fits into a header")]
    Host(#[from] InvalidHeaderValue),
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        let uri: Uri = url.parse()?;
        let (Some(scheme @ ("http" | "https")), Some(authority), "" | "/") =
            (uri.scheme_str(), uri.authority(), uri.path())
        else {
            return Err(AddressError::Form);
        };
        let name = || ServerName::try_from(authority.host().trim_matches(['[', ']']).to_owned());
        let tls_name = (scheme == "https").then(name).transpose()?;
        let default_port = if tls_name.is_some() { 443 } else { 80 };
        let authority = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(default_port));
        Ok(Self { host: HeaderValue::from_str(&authority)?, authority, tls_name })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls_name.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_without_a_path() {
        for (url, authority) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://limits.example/", "limits.example:80"),
            ("http://[::1]:9", "[::1]:9"),
            ("https://limits.example", "limits.example:443"),
            ("https://[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(Address::parse(url).map(|address| address.authority).ok().as_deref(), Some(authority));
        }
        for url in ["ftp://a:1", "a:1", "http://a:1/v1", "http://", "a b"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
