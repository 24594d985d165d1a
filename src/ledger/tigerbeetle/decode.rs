//! Decodes the replies of the TigerBeetle client. Every result code of this client version has its arm.

use tigerbeetle_unofficial::core::error::{
    CreateAccountErrorKind, CreateAccountsIndividualApiError, CreateTransferErrorKind as Kind,
    CreateTransfersIndividualApiError,
};
use tigerbeetle_unofficial::core::{self as client, account, transfer};

use super::encode::balancing;
use crate::ledger::{
    Account, AccountId, Bound, Chain, ChainOutcome, Field, LedgerError, Movement, Recorded, Refusal,
    Transfer, TransferCode, TransferId, UserData,
};

/// Decodes the outcome of each chain.
///
/// A reply lists only the transfers that failed, each with its index. `timestamp_ns` of the reply is that of the last
/// transfer; each transfer before it is one nanosecond earlier.
pub(super) fn outcomes(chains: &[Chain], payload: &[u8], timestamp_ns: u64) -> Vec<ChainOutcome> {
    let failures =
        CreateTransfersIndividualApiError::vec_from_raw_results(bytemuck::pod_collect_to_vec(payload));
    let mut failures = failures.iter().map(|failure| (failure.index() as usize, failure.kind())).peekable();
    let count: usize = chains.iter().map(|chain| chain.transfers().len()).sum();
    let first_timestamp_ns = timestamp_ns.saturating_sub(count as u64) + 1;
    let mut start = 0;
    let mut outcomes = Vec::with_capacity(chains.len());
    for chain in chains {
        let end = start + chain.transfers().len();
        let mut outcome = ChainOutcome::Created { timestamp_ns: first_timestamp_ns + start as u64 };
        while let Some((index, kind)) = failures.next_if(|(index, _)| *index < end) {
            // One transfer of a failed chain names the reason; the others fail with it.
            if let (ChainOutcome::Created { .. }, Some(refusal)) = (outcome, refusal(kind)) {
                outcome = ChainOutcome::Refused { index: index - start, refusal };
            }
        }
        outcomes.push(outcome);
        start = end;
    }
    outcomes
}

/// Checks that each account exists now. It may have existed before.
pub(super) fn created_accounts(payload: &[u8]) -> Result<(), LedgerError> {
    let failures =
        CreateAccountsIndividualApiError::vec_from_raw_results(bytemuck::pod_collect_to_vec(payload));
    match failures.iter().find(|failure| !is_existing(failure.kind())) {
        Some(failure) => Err(LedgerError::Unexpected(format!(
            "account {} of the request was refused: {:?}",
            failure.index(),
            failure.kind()
        ))),
        None => Ok(()),
    }
}

/// Decodes the accounts that a look-up found.
pub(super) fn accounts(payload: &[u8]) -> Vec<Account> {
    let accounts: Vec<client::Account> = bytemuck::pod_collect_to_vec(payload);
    let decode = |account: &client::Account| Account {
        id: AccountId::from_u128(account.id()),
        debits_pending: account.debits_pending(),
        debits_posted: account.debits_posted(),
        credits_pending: account.credits_pending(),
        credits_posted: account.credits_posted(),
        closed: account.flags().contains(account::Flags::CLOSED),
    };
    accounts.iter().map(decode).collect()
}

/// Decodes transfers. Fails at a transfer that another program made.
pub(super) fn transfers(payload: &[u8]) -> Result<Vec<Recorded>, LedgerError> {
    let transfers: Vec<client::Transfer> = bytemuck::pod_collect_to_vec(payload);
    transfers.iter().map(decode_transfer).collect()
}

fn decode_transfer(transfer: &client::Transfer) -> Result<Recorded, LedgerError> {
    let foreign = || LedgerError::Unexpected(format!("a transfer that another program made: {transfer:?}"));
    let code = TransferCode::from_u16(transfer.code()).ok_or_else(foreign)?;
    let user_data = UserData {
        wide: transfer.user_data_128(),
        long: transfer.user_data_64(),
        short: transfer.user_data_32(),
    };
    let debit = AccountId::from_u128(transfer.debit_account_id());
    let credit = AccountId::from_u128(transfer.credit_account_id());
    let amount = transfer.amount();
    let kind = transfer.flags() - transfer::Flags::LINKED;
    let movement = if kind.is_empty() {
        Movement::Post { debit, credit, amount }
    } else if let Some(bound) = bound_of(kind) {
        Movement::PostUpTo { debit, credit, amount, bound }
    } else if kind == transfer::Flags::PENDING {
        Movement::Pend { debit, credit, amount, timeout_seconds: transfer.timeout() }
    } else if kind == transfer::Flags::PENDING | transfer::Flags::CLOSING_DEBIT {
        Movement::Close { debit, credit }
    } else if kind == transfer::Flags::VOID_PENDING_TRANSFER {
        Movement::Void { pending: TransferId::from_u128(transfer.pending_id()) }
    } else {
        return Err(foreign());
    };
    let id = TransferId::from_u128(transfer.id());
    let timestamp_ns = transfer.as_raw().timestamp;
    Ok(Recorded { transfer: Transfer { id, code, user_data, movement }, timestamp_ns })
}

fn bound_of(kind: transfer::Flags) -> Option<Bound> {
    [Bound::DebitBalance, Bound::CreditOwed, Bound::Both].into_iter().find(|&bound| balancing(bound) == kind)
}

/// Whether an account was refused because it exists.
fn is_existing(kind: CreateAccountErrorKind) -> bool {
    match kind {
        // The flags differ when the account has been closed since.
        CreateAccountErrorKind::Exists | CreateAccountErrorKind::ExistsWithDifferentFlags => true,
        CreateAccountErrorKind::LinkedEventFailed
        | CreateAccountErrorKind::LinkedEventChainOpen
        | CreateAccountErrorKind::ImportedEventExpected
        | CreateAccountErrorKind::ImportedEventNotExpected
        | CreateAccountErrorKind::TimestampMustBeZero
        | CreateAccountErrorKind::ImportedEventTimestampOutOfRange
        | CreateAccountErrorKind::ImportedEventTimestampMustNotAdvance
        | CreateAccountErrorKind::ImportedEventTimestampMustNotRegress
        | CreateAccountErrorKind::ReservedField
        | CreateAccountErrorKind::ReservedFlag
        | CreateAccountErrorKind::IdMustNotBeZero
        | CreateAccountErrorKind::IdMustNotBeIntMax
        | CreateAccountErrorKind::ExistsWithDifferentUserData128
        | CreateAccountErrorKind::ExistsWithDifferentUserData64
        | CreateAccountErrorKind::ExistsWithDifferentUserData32
        | CreateAccountErrorKind::ExistsWithDifferentLedger
        | CreateAccountErrorKind::ExistsWithDifferentCode
        | CreateAccountErrorKind::FlagsAreMutuallyExclusive
        | CreateAccountErrorKind::DebitsPendingMustBeZero
        | CreateAccountErrorKind::DebitsPostedMustBeZero
        | CreateAccountErrorKind::CreditsPendingMustBeZero
        | CreateAccountErrorKind::CreditsPostedMustBeZero
        | CreateAccountErrorKind::LedgerMustNotBeZero
        | CreateAccountErrorKind::CodeMustNotBeZero => false,
        // The TigerBeetle client's enum is open; this version of it has no further value.
        _ => false,
    }
}

/// Why a transfer failed; `None` if it failed only because another transfer of its chain did.
fn refusal(kind: Kind) -> Option<Refusal> {
    Some(match kind {
        Kind::LinkedEventFailed => return None,
        Kind::Exists => Refusal::Exists,
        Kind::ExistsWithDifferentFlags => Refusal::ExistsWithDifferent(Field::Flags),
        Kind::ExistsWithDifferentPendingId => Refusal::ExistsWithDifferent(Field::PendingId),
        Kind::ExistsWithDifferentTimeout => Refusal::ExistsWithDifferent(Field::Timeout),
        Kind::ExistsWithDifferentDebitAccountId => Refusal::ExistsWithDifferent(Field::DebitAccount),
        Kind::ExistsWithDifferentCreditAccountId => Refusal::ExistsWithDifferent(Field::CreditAccount),
        Kind::ExistsWithDifferentAmount => Refusal::ExistsWithDifferent(Field::Amount),
        Kind::ExistsWithDifferentUserData128 => Refusal::ExistsWithDifferent(Field::UserDataWide),
        Kind::ExistsWithDifferentUserData64 => Refusal::ExistsWithDifferent(Field::UserDataLong),
        Kind::ExistsWithDifferentUserData32 => Refusal::ExistsWithDifferent(Field::UserDataShort),
        Kind::ExistsWithDifferentLedger => Refusal::ExistsWithDifferent(Field::Ledger),
        Kind::ExistsWithDifferentCode => Refusal::ExistsWithDifferent(Field::Code),
        Kind::IdAlreadyFailed => Refusal::IdAlreadyFailed,
        Kind::ExceedsCredits => Refusal::ExceedsCredits,
        Kind::ExceedsDebits => Refusal::ExceedsDebits,
        Kind::DebitAccountNotFound => Refusal::DebitAccountNotFound,
        Kind::CreditAccountNotFound => Refusal::CreditAccountNotFound,
        Kind::DebitAccountAlreadyClosed => Refusal::DebitAccountClosed,
        Kind::CreditAccountAlreadyClosed => Refusal::CreditAccountClosed,
        Kind::PendingTransferNotFound => Refusal::PendingNotFound,
        Kind::PendingTransferNotPending => Refusal::PendingNotPending,
        Kind::PendingTransferAlreadyPosted => Refusal::PendingAlreadyPosted,
        Kind::PendingTransferAlreadyVoided => Refusal::PendingAlreadyVoided,
        Kind::PendingTransferExpired => Refusal::PendingExpired,
        Kind::OverflowsDebitsPending
        | Kind::OverflowsCreditsPending
        | Kind::OverflowsDebitsPosted
        | Kind::OverflowsCreditsPosted
        | Kind::OverflowsDebits
        | Kind::OverflowsCredits
        | Kind::OverflowsTimeout => Refusal::Overflow,
        Kind::LinkedEventChainOpen
        | Kind::TimestampMustBeZero
        | Kind::ReservedFlag
        | Kind::IdMustNotBeZero
        | Kind::IdMustNotBeIntMax
        | Kind::FlagsAreMutuallyExclusive
        | Kind::DebitAccountIdMustNotBeZero
        | Kind::DebitAccountIdMustNotBeIntMax
        | Kind::CreditAccountIdMustNotBeZero
        | Kind::CreditAccountIdMustNotBeIntMax
        | Kind::AccountsMustBeDifferent
        | Kind::PendingIdMustBeZero
        | Kind::PendingIdMustNotBeZero
        | Kind::PendingIdMustNotBeIntMax
        | Kind::PendingIdMustBeDifferent
        | Kind::TimeoutReservedForPendingTransfer
        | Kind::LedgerMustNotBeZero
        | Kind::CodeMustNotBeZero
        | Kind::AccountsMustHaveTheSameLedger
        | Kind::TransferMustHaveTheSameLedgerAsAccounts
        | Kind::PendingTransferHasDifferentDebitAccountId
        | Kind::PendingTransferHasDifferentCreditAccountId
        | Kind::PendingTransferHasDifferentLedger
        | Kind::PendingTransferHasDifferentCode
        | Kind::ExceedsPendingTransferAmount
        | Kind::PendingTransferHasDifferentAmount
        | Kind::ImportedEventExpected
        | Kind::ImportedEventNotExpected
        | Kind::ImportedEventTimestampOutOfRange
        | Kind::ImportedEventTimestampMustNotAdvance
        | Kind::ImportedEventTimestampMustNotRegress
        | Kind::ImportedEventTimestampMustPostdateDebitAccount
        | Kind::ImportedEventTimestampMustPostdateCreditAccount
        | Kind::ImportedEventTimeoutMustBeZero
        | Kind::ClosingTransferMustBePending => Refusal::Malformed(kind.into_snake_case_str()),
        // The TigerBeetle client's enum is open; this version of it has no further value.
        _ => Refusal::Malformed("a result code that this version of the TigerBeetle client does not know"),
    })
}
