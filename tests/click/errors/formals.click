elementclass E { $a, KEY $b, $c, KEY $d, $a | }
elementclass F { $a Idle }
elementclass G { __REST__ $r, $x }
