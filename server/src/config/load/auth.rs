//! `http_api.auth`. Problems are shown without what is secret, since they may end in a log.

use super::{Block, Reader};
use crate::config::report::Problem;
use crate::config::{Area, Auth, Credentials};

impl<'a> Reader<'a> {
    pub(super) fn auth(&mut self, block: Block<'a>) -> Option<Auth> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let mut users = self.users(block);
        let tokens: Vec<_> = self.value(block, "token").words.into_iter().map(str::to_owned).collect();
        let alone = users.is_empty() && tokens.is_empty();
        if alone || self.is_set(block, "username") || self.is_set(block, "password") {
            users.extend(self.first_user(block));
        }
        Some(Auth { users, tokens, scope: self.scope(block) })
    }

    /// SRS's only user.
    fn first_user(&mut self, block: Block<'a>) -> Option<Credentials> {
        let mut is_whole = true;
        for name in ["username", "password"] {
            let value = self.value(block, name);
            let message = match value.text() {
                "" => format!("`auth` is on without a `{name}`: nobody can log in"),
                text if text.contains(':') => format!("`{name}` must not contain `:`"),
                _ => continue,
            };
            is_whole = false;
            self.problems.push(masked(value.problem(self.files, 0, message), value.text()));
        }
        let [username, password] = ["username", "password"].map(|name| self.text(block, name));
        is_whole.then_some(Credentials { username, password })
    }

    /// `user NAME PASSWORD;`, as often as wanted.
    fn users(&mut self, block: Block<'a>) -> Vec<Credentials> {
        let mut users = Vec::new();
        for node in block.nodes.iter().filter(|node| node.name.text == "user") {
            match &node.args[..] {
                [username, password] if !username.text.contains(':') => users
                    .push(Credentials { username: username.text.clone(), password: password.text.clone() }),
                words => {
                    let secret = words.get(1).map_or("", |word| word.text.as_str());
                    let problem = Problem::new("`user` takes a name without `:`, and a password");
                    self.problems.push(masked(problem.at(self.files.place(node.name.span)), secret));
                }
            }
        }
        users
    }

    fn scope(&mut self, block: Block<'a>) -> Vec<Area> {
        let value = self.value(block, "scope");
        let mut scope = Vec::new();
        for (index, word) in value.words.iter().enumerate() {
            match Area::named(word) {
                [] => {
                    let message = format!("`{word}` is nothing that can be guarded");
                    let problem = value.problem(self.files, index, message);
                    self.problems
                        .push(problem.help(
                            "write `all`, `srs`, or some of `api`, `rtc`, `sig`, `console`, `metrics`",
                        ));
                }
                areas => scope.extend_from_slice(areas),
            }
        }
        scope
    }
}

/// The problem with stars in place of a secret.
fn masked(mut problem: Problem, secret: &str) -> Problem {
    if let (false, Some(place)) = (secret.is_empty(), &mut problem.place) {
        place.source = place.source.replace(secret, &"*".repeat(secret.chars().count()));
    }
    problem
}
