// one
InfiniteSource /* two -> */ -> // three
 Discard(/* four */)
