elementclass E { ... }
elementclass F { Idle || ... || Idle }
elementclass G { Idle || ... }
elementclass 5x { Idle } elementclass { Idle }
