//! What is varied: the faults that are planted into the protocol, one a step, and what a refusal promises.

/// One step of the protocol, done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A commit is inserted without a primary key, so two may have one number.
    NumberIsNotUnique,
    /// After a lost race, what was remembered of the wallet is believed at the new head.
    MemoryKeptAfterLostRace,
    /// After a lost connection, what was remembered is believed on the next one. Alone, this does no harm.
    MemoryKeptAfterReconnect,
    /// What was read without the lock is remembered at once, and believed on the next connection.
    ReadKeptAfterReconnect,
    /// Without the lock, the wallet is read before the head is.
    HeadReadLast,
    /// A batch of replays alone is answered without the lock and COMMIT.
    ReplaysToldAtOnce,
    /// A batch of refusals alone is answered without the lock and COMMIT.
    RefusalsToldAtOnce,
    /// A batch that writes nothing is answered after the lock and COMMIT, whatever the head is by then.
    HeadNotCompared,
    /// The slow path ends in ROLLBACK if it wrote nothing.
    Rollback,
    /// The lock is an advisory one. It writes nothing, so a COMMIT that wrote nothing else does not wait.
    AdvisoryLock,
    /// A success that says that the wait was cancelled is taken for a success.
    WarningIgnored,
    /// After a lost answer, the batch is decided again without a look at whose commit is there. No money is lost by it,
    /// but a caller may be told of a replay of what this very call has done.
    Unresolved,
    /// After a lost answer, any commit at that number is taken for one's own.
    NonceNotCompared,
    /// After a lost answer, the commit is read without the lock.
    ResolvedWithoutLock,
    /// After a lost answer, the commit that was read is believed before COMMIT is answered.
    ResolvedBeforeCommit,
    /// After a lost connection, the one that was given up is not ended: what it has sent may still be carried out.
    GivenUpConnectionNotEnded,
    /// With refusals of all attempts: a batch that only refuses writes nothing.
    RefusalsNotWritten,
    /// With refusals of all attempts: a caller that was told UNAVAILABLE stays in the batch when it is decided again.
    ToldCallDecidedAgain,
    /// A caller is told that nothing was done at its deadline, although the write was sent.
    DeadlineAfterWrite,
}

/// What a refusal promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// This attempt has done nothing and will do nothing. An earlier one, whose caller was told UNAVAILABLE, still may.
    OfOneAttempt,
    /// Nor will an earlier one. For this, a batch that only refuses writes a commit without entries, so that whatever
    /// is still on its way loses the race for its number. And who was told UNAVAILABLE is not decided on again.
    OfAllAttempts,
}
