//! Which user the server is: `user` has it started as root, for ports below 1024, and become somebody else before it serves anybody.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, initgroups, setgid, setuid};

use crate::config;

/// A user to become.
pub struct Account {
    uid: Uid,
    gid: Gid,
    name: CString,
}

/// Why the server cannot be this user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such user or group.
    #[error("`user`: there is no {what} {name}")]
    Unknown {
        /// User or group.
        what: &'static str,
        /// As it is written.
        name: String,
    },
    /// Only root can become somebody else.
    #[error("`user {name}` needs a start as root, and this process is of user {uid}")]
    NotRoot {
        /// As it is written.
        name: String,
        /// Who the process is.
        uid: Uid,
    },
    /// The system refuses.
    #[error("cannot become user {name}: {why}")]
    System {
        /// The user.
        name: String,
        /// Why.
        why: io::Error,
    },
}

impl Account {
    /// The user to become; none if the process is this user already.
    ///
    /// # Errors
    /// When there is none of this name, or the process may not become it.
    pub fn find(wanted: &config::User) -> Result<Option<Self>, Error> {
        let unknown = |what, name: &str| Error::Unknown { what, name: name.to_owned() };
        let system = |e: nix::Error| Error::System { name: wanted.name.clone(), why: e.into() };
        let user = User::from_name(&wanted.name).map_err(system)?;
        let user = user.ok_or_else(|| unknown("user", &wanted.name))?;
        let gid = match &wanted.group {
            None => user.gid,
            Some(name) => {
                let group = Group::from_name(name).map_err(system)?;
                group.ok_or_else(|| unknown("group", name))?.gid
            }
        };
        let uid = geteuid();
        if (uid, getegid()) == (user.uid, gid) {
            return Ok(None);
        }
        if !uid.is_root() {
            return Err(Error::NotRoot { name: wanted.name.clone(), uid });
        }
        let name = CString::new(wanted.name.as_str()).map_err(|_| unknown("user", &wanted.name))?;
        Ok(Some(Self { uid: user.uid, gid, name }))
    }

    /// Makes a folder that is missing, with those above it, and gives it to this user. One that is there stays as it is.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.exists() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.make_folder(above)?;
        }
        fs::create_dir(path)?;
        self.give(path)
    }

    /// Gives a file or a folder to this user.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }

    /// Becomes this user for good, with all threads: the C library sees to those that run already.
    ///
    /// # Errors
    /// When the system refuses; the process must end then.
    pub fn assume(self) -> Result<(), Error> {
        let name = self.name.to_string_lossy().into_owned();
        let system = |e: nix::Error| Error::System { name: name.clone(), why: e.into() };
        // In this order: who is not root any more cannot leave root's groups.
        initgroups(&self.name, self.gid).map_err(system)?;
        setgid(self.gid).map_err(system)?;
        setuid(self.uid).map_err(system)?;
        if setuid(Uid::from_raw(0)).is_ok() && !self.uid.is_root() {
            return Err(system(nix::Error::EPERM));
        }
        tracing::info!("running as user {name}, uid={}, gid={}", self.uid, self.gid);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, group: Option<&str>) -> config::User {
        config::User { name: name.into(), group: group.map(str::to_owned) }
    }

    #[test]
    fn who_is_not_there_cannot_be_become() {
        let error = |user: config::User| Account::find(&user).err().map(|e| e.to_string());
        assert_eq!(error(user("no-such-user", None)).unwrap(), "`user`: there is no user no-such-user");
        assert_eq!(
            error(user("root", Some("no-such-group"))).unwrap(),
            "`user`: there is no group no-such-group"
        );
    }

    #[test]
    fn who_is_it_already_becomes_nobody() {
        let me = User::from_uid(geteuid()).unwrap().unwrap();
        let group = Group::from_gid(getegid()).unwrap().unwrap();
        assert!(Account::find(&user(&me.name, Some(&group.name))).unwrap().is_none());
    }
}
