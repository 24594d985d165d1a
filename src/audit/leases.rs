//! The leases, from the transfers that carry their ids. A lease is forgotten when it is settled or over; what comes later for it
//! is noted, and the whole lease is read again at the end of the audit.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::codes;
use super::ids::{self, Ids, PURPOSE_GUARD, PURPOSE_RESERVE};
use super::lease::{Lease, Leg, OfLease};
use super::limits::Owners;
use super::report::{Finding, Law, Report};
use super::settle;
use crate::ledger::TransferCode as Code;
use crate::ledger::raw::RawTransfer;

/// The leases that are neither settled nor over.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_id: HashMap<u128, Lease>,
    ends: BTreeSet<(u64, u128)>,
    late: BTreeSet<u128>,
    granted: u64,
    /// Whether leases stay when they are settled or over: of one that is read again.
    keeps: bool,
}

impl Leases {
    /// Leases of which none is forgotten.
    pub(super) fn keeping() -> Self {
        Self { keeps: true, ..Self::default() }
    }

    /// The leases that were granted.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The leases of which transfers came after they were forgotten.
    pub(super) fn take_late(&mut self) -> BTreeSet<u128> {
        std::mem::take(&mut self.late)
    }

    /// Forgets the leases that are over at a moment.
    pub(super) fn advance(&mut self, now_ns: u64) {
        while let Some(&(ends_ns, id)) = self.ends.first()
            && ends_ns <= now_ns
        {
            self.ends.pop_first();
            let Some(lease) = self.by_id.get(&id) else { continue };
            let ends_ns = lease.ends_ns();
            if ends_ns > now_ns {
                self.ends.insert((ends_ns, id));
            } else {
                self.by_id.remove(&id);
            }
        }
    }

    /// Takes the transfers of one chain that belong to leases.
    pub(super) fn add_chain(
        &mut self,
        transfers: &[OfLease],
        ids: Ids,
        owners: Owners<'_>,
        report: &mut Report,
    ) {
        let Some(&(first, code)) = transfers.first() else { return };
        let id = first.wide;
        for (transfer, _) in transfers {
            if transfer.wide != id {
                let finding = Finding::new(Law::LeaseShape, transfer, "a chain serves two leases");
                report.add(finding.of_lease(id).with([first.id]));
                return;
            }
            if transfer.id >> 16 != ids.lease_family(id) {
                let sentence = "a transfer of a lease has an id of another family";
                report.add(Finding::new(Law::LeaseIds, transfer, sentence).of_lease(id));
            }
        }
        let is_void = first.has(RawTransfer::VOID_PENDING);
        let is_claim = code == Code::Debt && first.amount == 0;
        if is_claim {
            self.add_claim(&first, report);
        } else if !is_void && (codes::reserves(code) || matches!(code, Code::Borrow | Code::Pass)) {
            self.add_grant(transfers, report);
        } else if is_void || matches!(code, Code::Complete | Code::Extend | Code::Renew) {
            self.add_to_lease(transfers, code, owners, report);
        } else {
            let sentence = "a chain of a lease begins with a transfer that begins no operation";
            report.add(Finding::new(Law::LeaseShape, &first, sentence).of_lease(id));
        }
    }

    /// The claim of emergency debt takes the place of a grant.
    fn add_claim(&mut self, first: &RawTransfer, report: &mut Report) {
        if let Some(lease) = self.by_id.get(&first.wide) {
            let sentence = "a lease that the ledger granted becomes emergency debt, too";
            let finding = Finding::new(Law::GrantedOnce, first, sentence).of_lease(first.wide);
            report.add(finding.with(lease.legs.first().map(|leg| leg.transfer)));
        }
    }

    fn add_grant(&mut self, transfers: &[OfLease], report: &mut Report) {
        let Some((first, _)) = transfers.first() else { return };
        let id = first.wide;
        // A lease without legs was served from allotments. It may be granted again, if its replica forgot it.
        let known = self.by_id.get(&id);
        if let Some(lease) = known.filter(|lease| !lease.legs.is_empty()) {
            let finding = Finding::new(Law::GrantedOnce, first, "a lease is granted a second time");
            let earlier = lease.legs.first().map(|leg| leg.transfer);
            report.add(finding.of_lease(id).with(earlier));
            return;
        }
        let mut lease = known.cloned().unwrap_or_default();
        let mut borrowed = None;
        for (transfer, code) in transfers {
            if codes::reserves(*code) && !transfer.has(RawTransfer::VOID_PENDING) {
                if borrowed.take().is_some_and(|amount| amount != transfer.amount) {
                    let sentence = "a reservation ahead borrows another amount than it spends";
                    report.add(Finding::new(Law::LeaseShape, transfer, sentence).of_lease(id));
                }
                if ids::purpose(transfer.id) != Some(PURPOSE_RESERVE) {
                    let sentence = "a reservation of a grant has the id of another purpose";
                    report.add(Finding::new(Law::LeaseIds, transfer, sentence).of_lease(id));
                }
                lease.legs.push(Leg::of(transfer));
            } else if *code == Code::Borrow {
                borrowed = Some(transfer.amount);
            } else if *code == Code::Pass && lease.legs.is_empty() {
                // A later attempt of a lease that waits.
            } else if *code != Code::Excess || lease.legs.is_empty() {
                let sentence = "a grant contains a transfer that does not belong to it";
                report.add(Finding::new(Law::LeaseShape, transfer, sentence).of_lease(id));
            }
        }
        self.granted += 1;
        self.ends.insert((lease.ends_ns(), id));
        self.by_id.insert(id, lease);
    }

    /// Takes a complete, an extend or a renewal.
    fn add_to_lease(&mut self, transfers: &[OfLease], code: Code, owners: Owners<'_>, report: &mut Report) {
        let Some((first, _)) = transfers.first() else { return };
        let id = first.wide;
        if ids::purpose(first.id) != Some(PURPOSE_GUARD) {
            let sentence = "an operation on a lease does not begin with the id of a guard";
            report.add(Finding::new(Law::SettledOnce, first, sentence).of_lease(id));
        }
        if self.keeps && settle::is_of_allotments(transfers, owners) {
            self.by_id.entry(id).or_default();
        }
        let Some(lease) = self.by_id.get_mut(&id) else {
            if self.keeps {
                let sentence = "a lease that was never granted is settled or extended";
                report.add(Finding::new(Law::LeaseShape, first, sentence).of_lease(id));
            } else {
                self.late.insert(id);
            }
            return;
        };
        if let Some(settled_by) = lease.settled_by {
            let sentence = if code == Code::Extend {
                "a settled lease is extended"
            } else if code == Code::Renew {
                "a settled lease is renewed"
            } else {
                "a lease is settled a second time"
            };
            report.add(Finding::new(Law::SettledOnce, first, sentence).of_lease(id).with([settled_by]));
            return;
        }
        let wrong = if code == Code::Extend {
            lease.extend(transfers)
        } else if code == Code::Renew {
            lease.renew(transfers)
        } else {
            settle::check(id, lease, transfers, owners, report);
            lease.settled_by = Some(first.id);
            None
        };
        if let Some(sentence) = wrong {
            report.add(Finding::new(Law::LeaseShape, first, sentence).of_lease(id));
        }
        if lease.settled_by.is_some() && !self.keeps {
            let ends_ns = lease.ends_ns();
            self.by_id.remove(&id);
            self.ends.remove(&(ends_ns, id));
        }
    }
}
