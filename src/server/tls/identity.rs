//! The subjects that the certificate of a client names.

use std::sync::Arc;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Whom a valid certificate names. A clone is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    subjects: Arc<[String]>,
}

impl ClientIdentity {
    /// The subjects of a certificate that is valid: `URI:` and `DNS:` of its alternative names, then `CN:` of its common
    /// name. None of them if it cannot be parsed.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let subjects = X509Certificate::from_der(certificate).map(|(_, certificate)| subjects(&certificate));
        Self { subjects: subjects.unwrap_or_default().into() }
    }

    /// The most specific subject first.
    pub(crate) fn subjects(&self) -> &[String] {
        &self.subjects
    }
}

fn subjects(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris = names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(format!("URI:{uri}")) } else { None });
    let hosts = names.iter().filter_map(|name| {
        if let GeneralName::DNSName(host) = name { Some(format!("DNS:{host}")) } else { None }
    });
    let common_names = certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| Some(format!("CN:{}", name.as_str().ok()?)));
    uris.chain(hosts).chain(common_names).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn uris_come_before_hosts_and_hosts_before_the_common_name() {
        let mut params = CertificateParams::new(vec!["gateway.internal".to_owned()]).expect("valid");
        params.distinguished_name.push(DnType::CommonName, "gateway");
        params.subject_alt_names.push(SanType::URI("spiffe://example/gateway".try_into().expect("valid")));
        let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("signed");
        assert_eq!(
            ClientIdentity::of(certificate.der()).subjects(),
            ["URI:spiffe://example/gateway", "DNS:gateway.internal", "CN:gateway"]
        );
        assert!(ClientIdentity::of(&CertificateDer::from(vec![0])).subjects().is_empty());
    }
}
