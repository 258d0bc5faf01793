//! What a host does wrong.

/// What a host call returns instead of the right result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This status, and nothing is done.
    Status(u32),
    /// What is asked for is done, and the status says that it is not.
    DoneBut(u32),
    /// `OK`, and no data.
    Empty,
    /// `OK`, and bytes that mean nothing.
    Garbage,
    /// `OK`, and far more bytes than anybody has asked for.
    Oversized,
    /// `OK`, and the number that is given back (a time, a token, an identifier) is this.
    Number(u64),
    /// `OK`, and the token of a call that is under way.
    TokenUnderWay,
}

/// Which calls are answered so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one of this place in the order of all.
    Nth(usize),
    /// All of these functions.
    Every(Vec<&'static str>),
}

/// What the host does from within a host call, while the callback that made it has not returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reentry {
    /// It answers a call as it is made.
    AnswerAtOnce,
    /// It calls the stream back with the headers of its own answer.
    ResponseHeaders,
    /// It ends the stream that is answered.
    Delete,
    /// It ticks.
    Tick,
}
