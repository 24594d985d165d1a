//! Carries out what the body of a reserve asks for, alone or in a batch.

use futures_util::future::join_all;

use super::{Limiter, LimiterError};
use crate::ledger::Ledger;
use crate::protocol::{CommandOutcome, Reserve, ReserveCommand, ReserveOutcome};

impl<L: Ledger> Limiter<L> {
    /// Carries a command out.
    ///
    /// If the future is dropped, the outcome is unknown; the same command finds out.
    pub async fn carry_out(&self, command: &ReserveCommand) -> Result<CommandOutcome, LimiterError> {
        match command {
            ReserveCommand::Take(reserve) => self.reserve(reserve).await.map(CommandOutcome::Reserved),
            ReserveCommand::TakeIfFree { take, free } => {
                self.reserve_if_free(take, free).await.map(CommandOutcome::Reserved)
            }
            ReserveCommand::Force(reserve) => self.force(reserve).await.map(CommandOutcome::Reserved),
            ReserveCommand::Look(reserve) => self.look(reserve).await,
        }
    }

    /// Carries out commands that do not wait: first those that only reserve, in order and in one submission to the ledger, then
    /// the others, together. The answers are in the order of the commands.
    pub async fn carry_out_batch(
        &self,
        commands: &[&ReserveCommand],
    ) -> Vec<Result<CommandOutcome, LimiterError>> {
        let plain = |command: &'_ ReserveCommand| matches!(command, ReserveCommand::Take(_));
        let reserves = commands.iter().filter(|command| plain(command)).map(|command| command.reserve());
        let mut reserved = self.reserve_all(&reserves.collect::<Vec<&Reserve>>()).await.into_iter();
        let others = commands.iter().filter(|command| !plain(command));
        let mut others = join_all(others.map(|command| self.carry_out(command))).await.into_iter();
        let answer = |command: &&ReserveCommand| match plain(command) {
            true => reserved.next().map(|outcome| outcome.map(CommandOutcome::Reserved)),
            false => others.next(),
        };
        commands.iter().filter_map(answer).collect()
    }

    /// Reserves, if anything is free of some other limits. What is free there may be taken meanwhile.
    async fn reserve_if_free(&self, take: &Reserve, free: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        let denial = match self.look(free).await? {
            CommandOutcome::Looked(denial) => denial,
            CommandOutcome::LookedFree { .. } | CommandOutcome::Reserved(_) => {
                return self.reserve(take).await;
            }
        };
        // The same command may have been granted before.
        if self.allotments.knows(take.lease) {
            return self.reserve(take).await;
        }
        match self.read_lease(take.lease).await? {
            Some(lease) => {
                let resolved = self.resolve_definitions(take).await?;
                self.status_of(&lease, &resolved).await
            }
            None => Ok(denial),
        }
    }
}
