//! The rooms, who is in them, and who hears of what. Sockets do not belong here: each participant has a mailbox.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Limits;
use super::mailbox::Post;
use super::message::{self, Action, Control, Peer, Refused};

/// All rooms. A room exists as long as somebody is in it.
pub(super) struct Hall {
    pub(super) limits: Limits,
    rooms: Mutex<HashMap<String, Room>>,
}

/// A place in a room; dropping it leaves the room.
pub(super) struct Seat {
    hall: Arc<Hall>,
    pub(super) room: String,
    pub(super) display: String,
    /// Somebody else may have the name by now.
    has_left: bool,
}

/// In the order in which they came.
#[derive(Default)]
struct Room(Vec<Person>);

struct Person {
    display: String,
    publishing: bool,
    post: Post,
}

impl Hall {
    /// Without any rooms.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, rooms: Mutex::default() }
    }

    /// Enters a room. The reply is in the mailbox then, before anything that happens there later.
    pub(super) fn join(
        self: &Arc<Self>,
        tid: Option<&str>,
        room: &str,
        display: &str,
        post: &Post,
    ) -> Result<Seat, Refused> {
        let Limits { rooms, people, .. } = self.limits;
        let mut all = self.rooms.lock();
        let count = all.len();
        let found = match all.entry(room.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if count >= rooms => {
                return Err(Refused::full(format!(
                    "there are {rooms} rooms already, which is all there can be"
                )));
            }
            Entry::Vacant(entry) => entry.insert(Room::default()),
        };
        if found.0.iter().any(|person| person.display == display) {
            return Err(Refused::bad(format!("{display} is in this room already")));
        }
        if found.0.len() >= people {
            return Err(Refused::full(format!(
                "there are {people} in this room already, which is all it can hold"
            )));
        }
        found.0.push(Person { display: display.to_owned(), publishing: false, post: post.clone() });
        found.tell(room, display, tid, &Action::Join);
        Ok(Seat { hall: self.clone(), room: room.to_owned(), display: display.to_owned(), has_left: false })
    }

    /// How many are in a room.
    pub(super) fn count(&self, room: &str) -> usize {
        self.rooms.lock().get(room).map_or(0, |room| room.0.len())
    }
}

impl Seat {
    /// Does something other than coming and going. The reply is in the mailbox then, and so is what the others hear of it.
    pub(super) fn act(&self, tid: Option<&str>, action: &Action<'_>) {
        let mut rooms = self.hall.rooms.lock();
        let Some(room) = rooms.get_mut(&self.room) else { return };
        if let Action::Publish = action {
            let mut people = room.0.iter_mut();
            people.by_ref().filter(|person| person.display == self.display).for_each(|p| p.publishing = true);
        }
        room.tell(&self.room, &self.display, tid, action);
    }

    /// Leaves the room, and gets a reply.
    pub(super) fn leave(mut self, tid: Option<&str>, post: &Post) {
        let hall = self.hall.clone();
        let mut rooms = hall.rooms.lock();
        Self::rise(&mut rooms, &self.room, &self.display);
        let left = rooms.get(&self.room).map(Room::peers).unwrap_or_default();
        post.send(message::done(tid, Action::Leave.name(), &self.room, &left));
        self.has_left = true;
    }

    fn rise(rooms: &mut HashMap<String, Room>, room: &str, display: &str) {
        let Some(found) = rooms.get_mut(room) else { return };
        let Some(at) = found.0.iter().position(|person| person.display == display) else { return };
        let gone = found.0.remove(at);
        if found.0.is_empty() {
            rooms.remove(room);
            return;
        }
        let notice =
            message::notice(Action::Leave.name(), room, gone.peer(), &found.peers(), &Control::default());
        found.0.iter().for_each(|person| person.post.send(notice.clone()));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        Self::rise(&mut self.hall.rooms.lock(), &self.room, &self.display);
    }
}

impl Room {
    fn peers(&self) -> Vec<Peer<'_>> {
        self.0.iter().map(Person::peer).collect()
    }

    /// Replies to who did something, and tells the others of it.
    fn tell(&self, room: &str, display: &str, tid: Option<&str>, action: &Action<'_>) {
        let peers = self.peers();
        let Some(who) = self.0.iter().find(|person| person.display == display) else { return };
        who.post.send(message::done(tid, action.name(), room, &peers));
        let nothing = Control::default();
        let control = match action {
            Action::Alive => return,
            Action::Control(control) => control,
            _ => &nothing,
        };
        let notice = message::notice(action.name(), room, who.peer(), &peers, control);
        let others = self.0.iter().filter(|person| person.display != display);
        others.for_each(|person| person.post.send(notice.clone()));
    }
}

impl Person {
    fn peer(&self) -> Peer<'_> {
        Peer { display: &self.display, publishing: self.publishing }
    }
}
