//! Who is compared.

mod by_hand;
mod floor;
mod ours;
mod peers;
mod sessions;

use crate::contender::Contender;
use crate::house::House;

/// Those that check a token.
pub fn of_tokens(house: &House) -> Vec<Contender> {
    let mut all = floor::contenders(house);
    all.extend(by_hand::contenders(house));
    all.extend(ours::contenders(house));
    all.extend(peers::contenders(house));
    all
}

/// Those that look a session up by its cookie, whatever signs tokens.
pub fn sessions() -> Vec<Contender> {
    sessions::contenders()
}
