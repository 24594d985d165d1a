//! The ids of the ledger model, derived anew from `ARCHITECTURE.md`: the audit must not trust the limiter's own.

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

/// Mixed into the hash of a lease: "lease-tr" in ASCII.
const LEASE_KEY: u64 = 0x6c65_6173_652d_7472;

/// The ids of one ledger of a cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    ledger: u32,
}

impl Ids {
    pub(super) fn new(ledger: u32) -> Self {
        Self { ledger }
    }

    /// The number that a label stands for: the first 16 bytes of SHA-256, little-endian. Ledger 1 adds nothing to the label.
    fn hash(self, label: &str) -> u128 {
        let prefix = if self.ledger == 1 { String::new() } else { format!("ledger:{}:", self.ledger) };
        let digest: [u8; 32] = Sha256::digest(format!("{prefix}{label}").as_bytes()).into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        u128::from_le_bytes(first)
    }

    pub(super) fn operator(self) -> u128 {
        self.hash("acct:operator")
    }

    pub(super) fn registry(self) -> u128 {
        self.hash("acct:registry")
    }

    pub(super) fn instances(self) -> u128 {
        self.hash("acct:instances")
    }

    pub(super) fn replicas(self) -> u128 {
        self.hash("acct:replicas")
    }

    pub(super) fn measure(self) -> u128 {
        self.hash("acct:measure")
    }

    pub(super) fn allowance(self) -> u128 {
        self.hash("acct:allowance")
    }

    /// The account of a limit since this version; `None` for its first one.
    pub(super) fn limit(self, key: &str, since: Option<u64>) -> u128 {
        match since {
            None => self.hash(&format!("acct:limit:{key}")),
            Some(version) => self.hash(&format!("acct:limit-since:{version}:{key}")),
        }
    }

    pub(super) fn debt(self, key: &str) -> u128 {
        self.hash(&format!("acct:debt:{key}"))
    }

    pub(super) fn spent(self, key: &str, since_version: u64, index: u32) -> u128 {
        self.hash(&format!("acct:spent:{key}:{since_version}:{index}"))
    }

    pub(super) fn clock(self, key: &str, counts_ns: bool) -> u128 {
        let name = if counts_ns { "clock-ns" } else { "clock" };
        self.hash(&format!("acct:{name}:{key}"))
    }

    /// The account that holds the end of the present window of a calendar window.
    pub(super) fn window_end(self, key: &str, since_version: u64) -> u128 {
        self.hash(&format!("acct:window-end:{since_version}:{key}"))
    }

    pub(super) fn borrowed(self, key: &str) -> u128 {
        self.hash(&format!("acct:borrowed:{key}"))
    }

    /// The alert account that belongs to this account of a limit.
    pub(super) fn alert(self, of_account: u128) -> u128 {
        self.hash(&format!("acct:alert:{of_account:032x}"))
    }

    /// The step of an alert account out of this number.
    pub(super) fn alert_step(self, account: u128, number: u128) -> u128 {
        let hash = self.hash(&format!("alert:{account:032x}:{number}"));
        hash >> 16 << 16 | u128::from(PURPOSE_ALERT) << 8
    }

    /// The id of the first part of a definition version.
    pub(super) fn first_part(self, key: &str, version: u64) -> u128 {
        let high = self.hash(&format!("definition:{key}")) >> 64;
        high << 64 | u128::from(version & 0xffff_ffff_ffff) << 16
    }

    /// The upper 112 bits of the ids of a lease's transfers: the milliseconds of its ULID, and a hash of it.
    pub(super) fn lease_family(self, lease: u128) -> u128 {
        let hash = SipHasher24::new_with_keys(u64::from(self.ledger), LEASE_KEY).hash(&lease.to_le_bytes());
        lease >> 80 << 64 | u128::from(hash)
    }
}

/// The purposes in the ids of a lease's transfers that the audit tells apart.
pub(super) const PURPOSE_RESERVE: u16 = 1;
pub(super) const PURPOSE_GUARD: u16 = 6;
const PURPOSE_ALERT: u16 = 16;

/// The purpose of a transfer of a lease, from the lower 16 bits of its id: 6 bits above attempt and leg. `None` for the
/// reservation of an extend, whose bits are a hash.
pub(super) fn purpose(id: u128) -> Option<u16> {
    let tail = id as u16;
    (tail & 1 << 15 == 0).then_some(tail >> 8 & 0b11_1111)
}
