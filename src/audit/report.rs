//! What an audit found.

use std::collections::BTreeMap;
use std::fmt;

use crate::ledger::raw::RawTransfer;

/// The most findings that are kept; all are counted.
const FINDINGS_MAX: usize = 1_000;

/// A law of the ledger that the audit checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Law {
    /// A chain is in the ledger whole or not at all.
    WholeChains,
    /// At no instant is more than the capacity of that instant reserved or spent.
    Capacity,
    /// What is available and spent, less what is owed, is the capacity that the newest version says.
    CapacitySum,
    /// Every move of capacity belongs to a definition version.
    CapacityMoves,
    /// The versions of a limit are numbered without gaps, under the ids that belong to them.
    Versions,
    /// A template never has more instances than `max_instances`, and each counts once.
    Instances,
    /// A closed account takes nothing but voids, and only a version opens or closes it for good.
    Closed,
    /// A reservation is voided once, before it expires.
    Voids,
    /// The ids of a lease's transfers are those of the lease.
    LeaseIds,
    /// A lease is granted once.
    GrantedOnce,
    /// A lease is settled at most once, and nothing of it changes afterwards.
    SettledOnce,
    /// An operation on a lease consists of the transfers that belong to it.
    LeaseShape,
    /// What stays reserved after a complete expires when the reservation would have.
    ShrinkExpiry,
    /// A complete releases no more than was reserved.
    Released,
    /// Debt consists of overage, excess and emergency debt, and only a reset clears it.
    Debt,
    /// A refill happens when its step has begun, and adds no more than the schedule says.
    Refills,
    /// A bucket that owes tokens has none available.
    Owed,
    /// The measure and allowance accounts are empty between chains.
    Measures,
    /// An alert account is stepped once out of each number, to a level in percent.
    Alerts,
    /// The balances of every account are the sums of its transfers.
    Balances,
}

impl Law {
    /// Every law.
    pub const ALL: [Law; 20] = [
        Law::WholeChains,
        Law::Capacity,
        Law::CapacitySum,
        Law::CapacityMoves,
        Law::Versions,
        Law::Instances,
        Law::Closed,
        Law::Voids,
        Law::LeaseIds,
        Law::GrantedOnce,
        Law::SettledOnce,
        Law::LeaseShape,
        Law::ShrinkExpiry,
        Law::Released,
        Law::Debt,
        Law::Refills,
        Law::Owed,
        Law::Measures,
        Law::Alerts,
        Law::Balances,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::WholeChains => "whole_chains",
            Self::Capacity => "capacity",
            Self::CapacitySum => "capacity_sum",
            Self::CapacityMoves => "capacity_moves",
            Self::Versions => "versions",
            Self::Instances => "instances",
            Self::Closed => "closed",
            Self::Voids => "voids",
            Self::LeaseIds => "lease_ids",
            Self::GrantedOnce => "granted_once",
            Self::SettledOnce => "settled_once",
            Self::LeaseShape => "lease_shape",
            Self::ShrinkExpiry => "shrink_expiry",
            Self::Released => "released",
            Self::Debt => "debt",
            Self::Refills => "refills",
            Self::Owed => "owed",
            Self::Measures => "measures",
            Self::Alerts => "alerts",
            Self::Balances => "balances",
        }
    }
}

/// A violation of a law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The law.
    pub law: Law,
    /// The key of the limit, if it is about one.
    pub key: Option<String>,
    /// The lease, if it is about one.
    pub lease: Option<u128>,
    /// The offending transfers.
    pub transfers: Vec<u128>,
    /// The time of the last of them, in the ledger's nanoseconds.
    pub at_ns: u64,
    /// What is wrong, in a sentence.
    pub sentence: String,
}

impl Finding {
    pub(super) fn new(law: Law, transfer: &RawTransfer, sentence: impl Into<String>) -> Self {
        let (transfers, at_ns) = (vec![transfer.id], transfer.timestamp_ns);
        Self { law, key: None, lease: None, transfers, at_ns, sentence: sentence.into() }
    }

    pub(super) fn of_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    pub(super) fn of_lease(self, lease: u128) -> Self {
        Self { lease: Some(lease), ..self }
    }

    pub(super) fn with(mut self, transfers: impl IntoIterator<Item = u128>) -> Self {
        self.transfers.extend(transfers);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.law.name())?;
        if let Some(key) = &self.key {
            write!(f, "limit {key}: ")?;
        }
        if let Some(lease) = self.lease {
            write!(f, "lease {}: ", ulid::Ulid(lease))?;
        }
        let transfers = self.transfers.iter().map(|id| format!("{id:032x}"));
        write!(f, "{} (transfers {})", self.sentence, transfers.collect::<Vec<_>>().join(", "))
    }
}

/// Something that this version of the audit cannot judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUnderstood {
    /// How many transfers.
    pub count: u64,
    /// The first of them.
    pub first: u128,
}

/// How far an audit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The transfers that were audited.
    pub transfers: u64,
    /// The time of the first of them, in the ledger's nanoseconds.
    pub first_ns: u64,
    /// The time of the last of them.
    pub last_ns: u64,
    /// The leases that are neither settled nor over: what the audit remembers, beside limits.
    pub open_leases: usize,
}

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The transfers that were read.
    pub transfers: u64,
    /// The chains in them.
    pub chains: u64,
    /// The limits that exist or existed, instances and templates included.
    pub limits: u64,
    /// The leases that were granted.
    pub leases: u64,
    /// The accounts whose balances were compared.
    pub accounts: u64,
    /// The moment up to which everything was read, in the ledger's nanoseconds.
    pub until_ns: u64,
    /// The number of violations.
    pub violations: u64,
    /// The first thousand violations.
    pub findings: Vec<Finding>,
    /// What could not be judged, by what it is.
    pub not_understood: BTreeMap<String, NotUnderstood>,
}

impl Report {
    /// Whether every law holds, and everything was understood.
    pub fn is_clean(&self) -> bool {
        self.violations == 0 && self.not_understood.is_empty()
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.violations += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    pub(super) fn add_not_understood(&mut self, what: String, transfer: &RawTransfer) {
        let first = NotUnderstood { count: 0, first: transfer.id };
        self.not_understood.entry(what).or_insert(first).count += 1;
    }
}
