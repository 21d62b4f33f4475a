elementclass E { input[1] -> Discard; Idle -> [2] output; }
elementclass F { Idle -> input; output -> Discard }
