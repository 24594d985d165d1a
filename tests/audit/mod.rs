//! The audit: clean on ledgers that the limiter wrote, and it finds each violation in ledgers that are wrong.

mod allotments;
mod clean;
mod list_ledger;
mod scenario;
mod stories;
mod wrong;
