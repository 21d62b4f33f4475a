define($a 1, $b "two words", $c ${a}0, $d x y z)
Idle($a, $b, ${c}, ${e-none}, $nothing, "$a x", "$b", \<61>, ${d[1]}, ${d[5]}, "\$a");
q :: Idle('$a');
