#!/usr/bin/env node
import { main } from "../src/bundler/build.js";

process.exitCode = await main(process.argv.slice(2));
