//! The messages of the signalling as JSON: what participants say, and what they are told. Who is told does not belong here.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// The longest name of a room or of a participant.
const MAX_NAME: usize = 64;

/// What a participant says.
#[derive(Debug)]
pub(super) struct Said<'a> {
    /// Names the reply.
    pub(super) tid: Option<String>,
    pub(super) room: String,
    pub(super) display: String,
    pub(super) action: Action<'a>,
}

/// What a participant does.
#[derive(Debug)]
pub(super) enum Action<'a> {
    Join,
    Publish,
    Control(Control<'a>),
    /// Is still there, of which nobody else hears.
    Alive,
    Leave,
}

/// Something for the others, which is none of our business.
#[derive(Debug, Default, Serialize)]
pub(super) struct Control<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// Why a message is not followed: the code and the reason of the reply.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Refused {
    code: u16,
    reason: String,
}

impl Refused {
    /// It makes no sense, or not now.
    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self { code: 400, reason: reason.into() }
    }

    /// There is no room for it.
    pub(super) fn full(reason: impl Into<String>) -> Self {
        Self { code: 503, reason: reason.into() }
    }
}

/// Somebody, as all others know him.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Peer<'a> {
    pub(super) display: &'a str,
    pub(super) publishing: bool,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Envelope<'a> {
    tid: Option<String>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Wish<'a> {
    action: String,
    room: String,
    display: String,
    call: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> Said<'a> {
    /// Reads a message. An error comes with the `tid`, as far as there is one.
    pub(super) fn parse(text: &'a str) -> Result<Self, (Option<String>, Refused)> {
        let odd = |e: serde_json::Error| Refused::bad(format!("the message makes no sense: {e}"));
        let Envelope { tid, msg } = serde_json::from_str(text).map_err(|e| (None, odd(e)))?;
        let wish = msg.ok_or_else(|| Refused::bad("the message has no `msg`"));
        let read = wish.and_then(|wish| serde_json::from_str(wish.get()).map_err(odd)).and_then(Wish::read);
        match read {
            Ok((room, display, action)) => Ok(Self { tid, room, display, action }),
            Err(refused) => Err((tid, refused)),
        }
    }
}

impl<'a> Wish<'a> {
    fn read(self) -> Result<(String, String, Action<'a>), Refused> {
        let Self { action, room, display, call, data } = self;
        for (what, name) in [("room", &room), ("display", &display)] {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
                return Err(Refused::bad(format!("`{what}` has 1 to {MAX_NAME} of A-Z a-z 0-9 - _")));
            }
        }
        let action = match action.as_str() {
            "join" => Action::Join,
            "publish" => Action::Publish,
            "control" if call.as_deref() == Some("alive") => Action::Alive,
            "control" => Action::Control(Control { call, data }),
            "leave" => Action::Leave,
            _ => return Err(Refused::bad("`action` is join, publish, control or leave")),
        };
        Ok((room, display, action))
    }
}

impl Action<'_> {
    /// As it stands in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::Control(_) | Self::Alive => "control",
            Self::Leave => "leave",
        }
    }
}

/// The reply to who did something that worked.
pub(super) fn done(tid: Option<&str>, action: &str, room: &str, participants: &[Peer<'_>]) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Reply<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        tid: Option<&'a str>,
        code: u16,
        msg: Msg<'a>,
    }
    #[derive(Serialize)]
    struct Msg<'a> {
        action: &'a str,
        room: &'a str,
        participants: &'a [Peer<'a>],
    }
    write(&Reply { tid, code: 0, msg: Msg { action, room, participants } })
}

/// The reply to who wanted something that does not go.
pub(super) fn refused(tid: Option<&str>, Refused { code, reason }: &Refused) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Reply<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        tid: Option<&'a str>,
        code: u16,
        error: &'a str,
    }
    write(&Reply { tid, code: *code, error: reason })
}

/// What all others hear of what `peer` did.
pub(super) fn notice(
    event: &str,
    room: &str,
    peer: Peer<'_>,
    participants: &[Peer<'_>],
    control: &Control<'_>,
) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Notice<'a> {
        msg: Msg<'a>,
    }
    #[derive(Serialize)]
    struct Msg<'a> {
        action: &'a str,
        event: &'a str,
        room: &'a str,
        peer: Peer<'a>,
        participants: &'a [Peer<'a>],
        #[serde(flatten)]
        control: &'a Control<'a>,
    }
    write(&Notice { msg: Msg { action: "notify", event, room, peer, participants, control } })
}

/// Texts and lists of them can always be written.
fn write(message: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(message).unwrap_or_default().into()
}
