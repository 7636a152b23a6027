/** Prints the datagrams that the greeter of this namespace got. */
import { connect } from 'node:net';

connect(8081, '127.0.0.1').pipe(process.stdout);
