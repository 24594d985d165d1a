//! Folds the transfers of a ledger, in their order, into the state that the laws are checked against.

use super::accounts::{Accounts, Role, Sums};
use super::chain::{Books, ChainContext};
use super::codes;
use super::definition::{self, Unreadable, Version};
use super::ids::{self, Ids, PURPOSE_GUARD};
use super::lease::OfLease;
use super::leases::Leases;
use super::limits::{Limits, Owners};
use super::report::{Finding, Law, Progress, Report};
use crate::ledger::raw::RawTransfer;
use crate::ledger::{Account, TransferCode};

/// An audit that is under way.
#[derive(Debug)]
pub(super) struct Auditor {
    ids: Ids,
    accounts: Accounts,
    limits: Limits,
    leases: Leases,
    report: Report,
    /// The transfers of the chain that is not complete yet.
    chain: Vec<RawTransfer>,
    first_ns: u64,
    last_ns: u64,
    /// The key whose versions are told.
    watched: Option<String>,
    history: Vec<(u64, Version)>,
}

impl Auditor {
    /// An audit of the ledger with this number.
    pub(super) fn new(ledger: u32) -> Self {
        let ids = Ids::new(ledger);
        let mut accounts = Accounts::default();
        accounts.assign(ids.operator(), Role::Operator);
        accounts.assign(ids.registry(), Role::Log);
        accounts.assign(ids.instances(), Role::Log);
        accounts.assign(ids.replicas(), Role::Log);
        accounts.assign(ids.measure(), Role::Measure);
        accounts.assign(ids.allowance(), Role::Allowance);
        Self {
            ids,
            accounts,
            limits: Limits::default(),
            leases: Leases::default(),
            report: Report::default(),
            chain: Vec::new(),
            first_ns: 0,
            last_ns: 0,
            watched: None,
            history: Vec::new(),
        }
    }

    /// The same, which remembers the versions of a limit.
    pub(super) fn watching(self, key: &str) -> Self {
        Self { watched: Some(key.to_owned()), ..self }
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The versions of the watched limit, each with its time.
    pub(super) fn history(&self) -> &[(u64, Version)] {
        &self.history
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            transfers: self.report.transfers,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            open_leases: self.leases.len(),
        }
    }

    /// Learns the limits from the parts of all definitions, without any other transfer.
    pub(super) fn learn(&mut self, parts: &[RawTransfer]) {
        for version in parts.chunk_by(|_, next| next.short != 0) {
            self.add_version(version, &mut ChainContext::default());
        }
    }

    /// Takes the next transfer.
    pub(super) fn add(&mut self, transfer: &RawTransfer) {
        self.report.transfers += 1;
        if transfer.timestamp_ns <= self.last_ns {
            let sentence = "a transfer is not later than the one before it";
            self.report.add(Finding::new(Law::WholeChains, transfer, sentence));
        }
        if let Some(previous) = self.chain.last()
            && previous.timestamp_ns + 1 != transfer.timestamp_ns
        {
            self.end_broken_chain();
        }
        if self.first_ns == 0 {
            self.first_ns = transfer.timestamp_ns;
        }
        self.last_ns = transfer.timestamp_ns;
        self.chain.push(*transfer);
        if !transfer.has(RawTransfer::LINKED) {
            self.end_chain();
        }
    }

    /// The chain goes on with a transfer that is not there.
    fn end_broken_chain(&mut self) {
        if let (Some(first), Some(last)) = (self.chain.first(), self.chain.last()) {
            let sentence = "the chain that this transfer is linked into ends in the middle";
            self.report.add(Finding::new(Law::WholeChains, last, sentence).with([first.id]));
        }
        self.end_chain();
    }

    fn end_chain(&mut self) {
        let chain = std::mem::take(&mut self.chain);
        let Some(last) = chain.last() else { return };
        self.report.chains += 1;
        let mut context = ChainContext::default();
        let mut of_lease: Vec<OfLease> = Vec::new();
        for (index, transfer) in chain.iter().enumerate() {
            self.accounts.advance(transfer.timestamp_ns);
            self.leases.advance(transfer.timestamp_ns);
            let code = codes::code_of(transfer);
            if code == Some(TransferCode::Definition) && transfer.short == 0 {
                self.add_version(&chain[index..], &mut context);
            }
            match code {
                Some(code) => {
                    context.check(transfer, code, &mut self.books());
                    if codes::is_of_lease(code) {
                        of_lease.push((*transfer, code));
                    }
                }
                None => {
                    self.report.add_not_understood(format!("transfer code {}", transfer.code), transfer);
                }
            }
            self.apply(transfer);
        }
        context.end(&mut self.books(), last);
        let owners = Owners { accounts: &self.accounts, limits: &self.limits };
        self.leases.add_chain(&of_lease, self.ids, owners, &mut self.report);
        for limit in context.touched() {
            self.limits.check_balances(limit, &self.accounts, last, &mut self.report);
        }
        // The list is used again for the next chain.
        self.chain = chain;
        self.chain.clear();
    }

    fn books(&mut self) -> Books<'_> {
        Books {
            ids: self.ids,
            accounts: &mut self.accounts,
            limits: &mut self.limits,
            report: &mut self.report,
        }
    }

    /// Takes the version whose first part is the first of these transfers.
    fn add_version(&mut self, rest: &[RawTransfer], context: &mut ChainContext) {
        let Some(first) = rest.first() else { return };
        let is_part =
            |part: &&RawTransfer| part.code == first.code && (part.short != 0 || part.id == first.id);
        let parts: Vec<RawTransfer> = rest.iter().take_while(is_part).copied().collect();
        let version = match definition::read(&parts) {
            Ok(version) => version,
            Err(Unreadable::Newer { what, key }) => {
                if let Some(key) = key {
                    self.limits.forget(&key, &mut self.accounts);
                }
                self.report.add_not_understood(format!("definition of {what}"), first);
                return;
            }
            Err(Unreadable::Damaged) => {
                self.report.add(Finding::new(Law::Versions, first, "a definition is damaged"));
                return;
            }
        };
        if self.watched.as_ref() == Some(&version.key) {
            self.history.push((first.timestamp_ns, version.clone()));
        }
        let Self { ids, accounts, limits, report, .. } = self;
        if let Some(new) = limits.add(*ids, version, &parts, accounts, report) {
            context.begin_version(new, &mut self.books(), first);
        }
    }

    fn apply(&mut self, transfer: &RawTransfer) {
        let Self { accounts, limits, report, .. } = self;
        accounts.apply(transfer, report, |role, change| limits.posted(role, change));
        if transfer.has(RawTransfer::VOID_PENDING) {
            return;
        }
        for id in [transfer.debit, transfer.credit] {
            if accounts.role(id).is_none() {
                report.add_not_understood(
                    "transfer of an account that no definition explains".to_owned(),
                    transfer,
                );
            }
        }
        if !accounts.is_overdrawn(transfer.debit) {
            return;
        }
        let Sums { role, credits_posted, debits_posted, debits_pending, .. } = accounts.sums(transfer.debit);
        let law = match role {
            Some(Role::Limit(_)) => Law::Capacity,
            Some(Role::Allowance) => Law::Measures,
            Some(Role::Spent { .. }) => Law::Refills,
            Some(
                Role::Operator
                | Role::Log
                | Role::Measure
                | Role::Debt(_)
                | Role::Clock(_)
                | Role::Borrowed(_)
                | Role::Alert(_),
            )
            | None => return,
        };
        let left = credits_posted.saturating_sub(debits_posted);
        let sentence = format!(
            "{debits_pending} are reserved of {left} that are left; posted debits are {debits_posted} of {credits_posted}"
        );
        let finding = Finding::new(law, transfer, sentence);
        report.add(match role.and_then(Role::limit) {
            Some(limit) => finding.of_key(limits.key(limit)),
            None => finding,
        });
    }

    /// The leases to be read again: transfers came after they were forgotten.
    pub(super) fn take_late_leases(&mut self) -> Vec<u128> {
        self.leases.take_late().into_iter().collect()
    }

    /// Checks a whole lease from all its transfers.
    pub(super) fn check_lease(&mut self, transfers: &[RawTransfer]) {
        let of_lease = transfers.iter().filter_map(|transfer| Some((*transfer, codes::code_of(transfer)?)));
        let of_lease: Vec<OfLease> = of_lease.filter(|(_, code)| codes::is_of_lease(*code)).collect();
        let mut leases = Leases::keeping();
        // Each operation after the grant begins with the id of a guard.
        let begins = |(transfer, _): &OfLease| ids::purpose(transfer.id) == Some(PURPOSE_GUARD);
        let owners = Owners { accounts: &self.accounts, limits: &self.limits };
        let is_linked = |(transfer, _): &OfLease| transfer.has(RawTransfer::LINKED);
        for chain in of_lease.chunk_by(|last, next| is_linked(last) && !begins(next)) {
            leases.add_chain(chain, self.ids, owners, &mut self.report);
        }
    }

    /// Lets everything up to a moment expire.
    pub(super) fn advance(&mut self, now_ns: u64) {
        self.accounts.advance(now_ns);
        self.report.until_ns = self.report.until_ns.max(now_ns);
    }

    /// Compares accounts with the sums of their transfers. All transfers until the look-up have been added.
    pub(super) fn check_sums(&mut self, ids: &[u128], found: &[Option<Account>]) {
        let expired = self.accounts.recently_expired();
        for (&id, found) in ids.iter().zip(found) {
            self.report.accounts += 1;
            let sums = self.accounts.sums(id);
            let (debits_lag, credits_lag) = expired.get(&id).copied().unwrap_or_default();
            let holds = found.is_none_or(|account| {
                account.debits_posted == sums.debits_posted
                    && account.credits_posted == sums.credits_posted
                    && (sums.debits_pending..=sums.debits_pending + debits_lag)
                        .contains(&account.debits_pending)
                    && (sums.credits_pending..=sums.credits_pending + credits_lag)
                        .contains(&account.credits_pending)
            });
            if !holds {
                self.report.add(sums_differ(id, &sums, found.as_ref(), self.last_ns, &self.limits));
            }
        }
    }

    /// Ends the audit.
    pub(super) fn finish(mut self) -> Report {
        if !self.chain.is_empty() {
            self.end_broken_chain();
        }
        self.report.limits = self.limits.len() as u64;
        self.report.leases = self.leases.granted();
        self.report
    }
}

fn sums_differ(id: u128, sums: &Sums, found: Option<&Account>, at_ns: u64, limits: &Limits) -> Finding {
    let found = found.map_or_else(String::new, |account| {
        format!(
            "{} posted and {} pending debits, {} posted and {} pending credits",
            account.debits_posted, account.debits_pending, account.credits_posted, account.credits_pending
        )
    });
    let sentence = format!(
        "account {id:032x} has {found}; its transfers make {}, {}, {} and {}",
        sums.debits_posted, sums.debits_pending, sums.credits_posted, sums.credits_pending
    );
    let key = sums.role.and_then(Role::limit).map(|limit| limits.key(limit).to_owned());
    Finding { law: Law::Balances, key, lease: None, transfers: Vec::new(), at_ns, sentence }
}
