// The payment service of the chapter, and a hello.
import express from 'express'
import { v4 as uuid } from 'uuid'
import bodyParser from 'body-parser'

const app = express().use(bodyParser.json())
const payments = new Map()

app.post('/payments', (req, res) => {
  const id = uuid()
  payments.set(id, { id, ...req.body, owner: req.headers['x-hms-user'] })
  res.status(201).json({ id })
})
app.get('/payments/:id', (req, res) => res.json(payments.get(req.params.id) || {}))
app.get('/hello', (req, res) => res.type('text/plain').send('hello\n'))
app.listen(Number(process.argv[2]), '127.0.0.1')
