//! Who is compared.

mod by_hand;
mod floor;
mod huskarl;
mod ours;
mod peers;
mod sessions;

use crate::contender::Contender;
use crate::setup::Setup;

/// Those that check a token.
pub fn of_tokens(setup: &Setup) -> Vec<Contender> {
    let mut all = floor::contenders(setup);
    all.extend(by_hand::contenders(setup));
    all.extend(ours::contenders(setup));
    all.extend(peers::contenders(setup));
    all.push(huskarl::contender(setup));
    all
}

/// Those that look a session up by its cookie, whatever signs tokens.
pub fn sessions() -> Vec<Contender> {
    sessions::contenders()
}
