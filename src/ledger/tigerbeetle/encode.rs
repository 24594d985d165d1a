//! Encodes this project's types as those of the TigerBeetle client.

use tigerbeetle_unofficial::core::{self as client, account, transfer};

use crate::ledger::{AccountRule, Bound, Chain, Movement, NewAccount, Transfer};

/// The most transfers in one reply.
pub(super) const QUERY_TRANSFERS_MAX: u32 = 8_189;
/// The most transfers to read of one lease. Its status needs 97 without renewals: 32 reservations, 32 extensions of two
/// transfers each, and the first transfer of its complete. Not more, because the TigerBeetle client joins look-ups into one
/// request only while their largest possible replies fit into one reply.
pub(super) const LEASE_TRANSFERS_MAX: u32 = crate::ledger::LEASE_TRANSFERS_MAX as u32;

pub(super) fn account(ledger: u32, new: &NewAccount) -> client::Account {
    let flags = match new.rule {
        AccountRule::Unconstrained => account::Flags::empty(),
        AccountRule::DebitsMustNotExceedCredits => account::Flags::DEBITS_MUST_NOT_EXCEED_CREDITS,
    };
    client::Account::new(new.id.as_u128(), ledger, new.code as u16).with_flags(flags)
}

/// Encodes chains, one after another. All transfers of a chain but its last are linked to the next one.
pub(super) fn chains(ledger: u32, chains: &[Chain]) -> Vec<client::Transfer> {
    let count = chains.iter().map(|chain| chain.transfers().len()).sum();
    let mut encoded = Vec::with_capacity(count);
    for chain in chains {
        let last = chain.transfers().len() - 1;
        encoded.extend(
            chain
                .transfers()
                .iter()
                .enumerate()
                .map(|(index, transfer)| encode_transfer(ledger, transfer, index < last)),
        );
    }
    encoded
}

fn encode_transfer(ledger: u32, transfer: &Transfer, linked: bool) -> client::Transfer {
    let encoded = client::Transfer::new(transfer.id.as_u128())
        .with_code(transfer.code as u16)
        .with_ledger(ledger)
        .with_user_data_128(transfer.user_data.wide)
        .with_user_data_64(transfer.user_data.long)
        .with_user_data_32(transfer.user_data.short);
    let link = if linked { transfer::Flags::LINKED } else { transfer::Flags::empty() };
    match transfer.movement {
        Movement::Post { debit, credit, amount } => encoded
            .with_debit_account_id(debit.as_u128())
            .with_credit_account_id(credit.as_u128())
            .with_amount(amount)
            .with_flags(link),
        Movement::PostUpTo { debit, credit, amount, bound } => encoded
            .with_debit_account_id(debit.as_u128())
            .with_credit_account_id(credit.as_u128())
            .with_amount(amount)
            .with_flags(link | balancing(bound)),
        Movement::Pend { debit, credit, amount, timeout_seconds } => encoded
            .with_debit_account_id(debit.as_u128())
            .with_credit_account_id(credit.as_u128())
            .with_amount(amount)
            .with_timeout(timeout_seconds)
            .with_flags(link | transfer::Flags::PENDING),
        Movement::Close { debit, credit } => encoded
            .with_debit_account_id(debit.as_u128())
            .with_credit_account_id(credit.as_u128())
            .with_flags(link | transfer::Flags::PENDING | transfer::Flags::CLOSING_DEBIT),
        Movement::Void { pending } => encoded
            .with_pending_id(pending.as_u128())
            .with_flags(link | transfer::Flags::VOID_PENDING_TRANSFER),
    }
}

/// The flags of a [`Movement::PostUpTo`] with this bound.
pub(super) fn balancing(bound: Bound) -> transfer::Flags {
    match bound {
        Bound::DebitBalance => transfer::Flags::BALANCING_DEBIT,
        Bound::CreditOwed => transfer::Flags::BALANCING_CREDIT,
        Bound::Both => transfer::Flags::BALANCING_DEBIT | transfer::Flags::BALANCING_CREDIT,
    }
}
