// `/players/` is the player page, with the same parameters.

location.replace(`srs_player.html${location.search}`);
